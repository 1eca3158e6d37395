-- No more is given back than came in; what goes back in full is not shipped, and its order ends REFUNDED
with balance as (
    select receipt.id, receipt.order_id, receipt.channel_number, receipt.amount, receipt.receipt_class,
           coalesce(sum(refund.amount) filter (where refund.status = any(%(reserving)s)), 0) as promised,
           coalesce(sum(refund.amount) filter (where refund.status = 'REFUNDED'), 0) as gone
      from payments_receipt receipt left join payments_refund refund on refund.receipt_id = receipt.id
     group by receipt.id
), life as (  -- from which event to which a refund had a claim on its receipt
    select refund.receipt_id, refund.amount, min(event.id) as since,
           min(event.id) filter (where event.to_status <> all(%(reserving)s)) as until
      from payments_refund refund
      join shop_event event on event.subject_kind = 'refund' and event.subject = refund.number
     group by refund.id
)
select channel_number, concat('is of ', amount, ', but its refunds together are of ', promised)
  from balance where promised > amount
union all
select placed.number, concat('was shipped while all of its ', balance.amount, ' was going back')
  from balance
  join orders_order placed on placed.id = balance.order_id
  join shop_event shipped on shipped.subject_kind = 'order' and shipped.subject = placed.number
        and shipped.to_status = 'SHIPPED'
  join life on life.receipt_id = balance.id and shipped.id between life.since and coalesce(life.until, shipped.id)
 where balance.receipt_class = 'settled'
 group by placed.number, balance.amount, shipped.id having sum(life.amount) >= balance.amount
union all
select placed.number,
       concat('is ', placed.status, ', but ', balance.gone, ' of its ', balance.amount, ' went back')
  from balance join orders_order placed on placed.id = balance.order_id
 where balance.receipt_class = 'settled' and placed.status = any(%(paid)s)
   and (placed.status = 'REFUNDED') <> (balance.gone >= balance.amount)
