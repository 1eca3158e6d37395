-- A number names one row of ours, and what hangs together agrees on number, channel and order
select number, concat('names ', count(*), ' ', rows)
  from (select 'orders' as rows, number from orders_order
        union all select 'payments', number from payments_payment
        union all select 'refunds', number from payments_refund
        union all select 'payments of ' || channel, channel_number from payments_payment where channel_number <> ''
        union all select 'receipts of ' || channel, channel_number from payments_receipt
        union all select 'refunds of ' || channel, channel_number from payments_refund where channel_number <> ''
        union all select 'callbacks of ' || channel, message_id from payments_callback) named
 group by rows, number having count(*) > 1
union all
select receipt.channel_number,
       concat('is a receipt of ', receipt.channel, ' for ', receipt.number, ', but hangs on payment ',
              payment.channel, ' ', payment.number)
  from payments_receipt receipt join payments_payment payment on payment.id = receipt.payment_id
 where (receipt.channel, receipt.number) <> (payment.channel, payment.number)
union all
select receipt.channel_number,
       concat('is a receipt for order ', placed.number, ', but its payment ', payment.number, ' is of another')
  from payments_receipt receipt
  join payments_payment payment on payment.id = receipt.payment_id
  join orders_order placed on placed.id = receipt.order_id
 where receipt.order_id <> payment.order_id
union all
select channel_number,
       concat('is ', receipt_class, ', hangs on ', case when payment_id is null then 'no' else 'a' end, ' payment',
              case when order_id is null then ' and no order' else ' and an order' end)
  from payments_receipt
 where (receipt_class = 'unmatched') <> (payment_id is null) or (payment_id is null) <> (order_id is null)
union all
select refund.number,
       concat('goes over ', refund.channel, ', but its receipt ', receipt.channel_number,
              ' came over ', receipt.channel)
  from payments_refund refund join payments_receipt receipt on receipt.id = refund.receipt_id
 where refund.channel <> receipt.channel
