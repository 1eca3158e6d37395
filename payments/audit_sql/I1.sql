-- An order has at most one settled receipt: of its own amount, for a payment that is PAID
select placed.number,
       concat('has ', count(*), ' settled receipts: ', string_agg(receipt.channel_number, ', ' order by receipt.id))
  from payments_receipt receipt join orders_order placed on placed.id = receipt.order_id
 where receipt.receipt_class = 'settled'
 group by placed.number having count(*) > 1
union all
select placed.number, concat('costs ', placed.amount, ' ', placed.currency, ', its settled receipt ',
                             receipt.channel_number, ' is of ', receipt.amount, ' ', receipt.currency)
  from payments_receipt receipt join orders_order placed on placed.id = receipt.order_id
 where receipt.receipt_class = 'settled' and (receipt.amount, receipt.currency) <> (placed.amount, placed.currency)
union all
select placed.number, concat('is settled by payment ', payment.number, ', which is ', payment.status)
  from payments_receipt receipt
  join orders_order placed on placed.id = receipt.order_id
  join payments_payment payment on payment.id = receipt.payment_id
 where receipt.receipt_class = 'settled' and payment.status <> 'PAID'
