-- What was ever put on the shelf is there or in orders that hold it, and each order holds what it should
with held as (
    select line.product_id, sum(line.quantity) as units
      from orders_orderline line join orders_order placed on placed.id = line.order_id
     where placed.holds_stock group by line.product_id
), gone_out as (
    select subject as number from shop_event where subject_kind = 'order' and to_status = 'SHIPPED' group by subject
)
select product.sku,
       concat('was supplied ', product.supplied, ', but has ', product.stock,
              ' and orders hold ', coalesce(held.units, 0))
  from orders_product product left join held on held.product_id = product.id
 where product.supplied <> product.stock + coalesce(held.units, 0) or product.stock < 0
union all
select placed.number,
       concat('is ', placed.status, case when gone_out.number is null then ' and never shipped' end,
              ', but ', case when not placed.holds_stock then 'does not hold' else 'holds' end, ' its goods')
  from orders_order placed left join gone_out on gone_out.number = placed.number
 where placed.holds_stock <> (placed.status <> 'CLOSED'
                              and (placed.status <> 'REFUNDED' or gone_out.number is not null))
