-- What counts as paid has its receipt: every order past UNPAID and CLOSED, every PAID payment, and nothing else
with settled as (
    select order_id, min(channel_number) as channel_number from payments_receipt
     where receipt_class = 'settled' group by order_id
), paid as (
    select payment_id, channel_number, receipt_class from payments_receipt
     where receipt_class in ('settled', 'surplus', 'late')
)
select placed.number, concat('is ', placed.status, ' without a settled receipt')
  from orders_order placed left join settled on settled.order_id = placed.id
 where placed.status = any(%(paid)s) and settled.order_id is null
union all
select placed.number, concat('is ', placed.status, ', but receipt ', settled.channel_number, ' settles it')
  from orders_order placed join settled on settled.order_id = placed.id
 where placed.status <> all(%(paid)s)
union all
select number, 'is UNPAID, which nobody may see' from payments_payment where status = 'UNPAID'
union all
select payment.number, concat('is PAID by trade "', payment.channel_number, '", of which it has no receipt')
  from payments_payment payment
  left join paid on paid.payment_id = payment.id and paid.channel_number = payment.channel_number
 where payment.status = 'PAID' and paid.payment_id is null
union all
select payment.number,
       concat('is ', payment.status, ', but its receipt ', paid.channel_number, ' is ', paid.receipt_class)
  from paid join payments_payment payment on payment.id = paid.payment_id
 where payment.status <> 'PAID' and paid.receipt_class <> 'settled'
