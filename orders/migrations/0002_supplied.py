from django.db import migrations, models
from django.db.models import F, Q

# What was put in is what is left and what orders hold.
COUNT = """
update orders_product product set supplied = product.stock + coalesce((
    select sum(line.quantity) from orders_orderline line
      join orders_order placed on placed.id = line.order_id and placed.holds_stock
     where line.product_id = product.id), 0)
"""


class Migration(migrations.Migration):
    dependencies = [("orders", "0001_initial")]
    operations = [
        migrations.AddField(
            "product",
            "supplied",
            models.IntegerField(default=0, help_text="units ever put on the shelf"),
            preserve_default=False,
        ),
        migrations.RunSQL(COUNT, migrations.RunSQL.noop),
        migrations.AddConstraint(
            "product",
            models.CheckConstraint(condition=Q(stock__lte=F("supplied")), name="stock_was_supplied"),
        ),
    ]
