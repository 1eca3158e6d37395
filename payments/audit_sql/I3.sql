-- An order has at most one live payment that is not superseded
select placed.number,
       concat('has ', count(*), ' live payments: ', string_agg(payment.number, ', ' order by payment.id))
  from payments_payment payment join orders_order placed on placed.id = payment.order_id
 where payment.status = 'PAYING' and payment.superseded_at is null
 group by placed.number having count(*) > 1
