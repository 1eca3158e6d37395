from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("shop", "0011_how_far_the_feed_reaches")]

    operations = [
        migrations.AlterField(
            model_name="event",
            name="source",
            field=models.CharField(
                choices=[
                    ("SHOPPER", "Shopper"),
                    ("API", "Another system"),
                    ("STAFF", "Staff"),
                    ("SYSTEM", "System"),
                    ("RESPONSE", "Response"),
                    ("CALLBACK", "Callback"),
                    ("QUERY", "Query"),
                    ("STATEMENT", "Statement"),
                ],
                max_length=10,
            ),
        ),
    ]
