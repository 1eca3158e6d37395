from django.db import migrations, models

# Until now the number of tries was the place in the schedule.
PLACE = "update shop_alarm set place = attempts"


class Migration(migrations.Migration):
    dependencies = [("shop", "0003_longer_event_subject")]
    operations = [
        migrations.AddField("alarm", "place", models.PositiveIntegerField(db_default=0, default=0)),
        migrations.AddField("alarm", "is_hurried", models.BooleanField(db_default=False, default=False)),
        migrations.RunSQL(PLACE, migrations.RunSQL.noop),
    ]
