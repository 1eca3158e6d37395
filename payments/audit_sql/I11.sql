-- A channel keeps an order's price less what went back, if it is to be delivered, and nothing if it is not
with back as (  -- through the channel: what was paid back by hand it keeps
    select channel, channel_number, sum(amount) as amount
      from told_refund where status = 'SUCCESS' group by channel, channel_number
), refunded as (  -- `less` may have gone back although we do not say so yet, `more` may not although we say so
    select refund.receipt_id, sum(refund.amount) filter (where refund.status = 'REFUNDED') as done,
           sum(refund.amount) filter (where open_refund.number is not null and refund.status <> 'REFUNDED') as less,
           sum(refund.amount) filter (where open_refund.number is not null and refund.status = 'REFUNDED') as more,
           sum(refund.amount) filter (where refund.status = 'REFUNDED' and refund.kind = 'BY_HAND') as by_hand
      from payments_refund refund left join open_refund on open_refund.number = refund.number
     group by refund.receipt_id
), kept as (
    select receipt.order_id, sum(told.amount - coalesce(back.amount, 0)) as amount,
           coalesce(sum(refunded.done) filter (where receipt.receipt_class = 'settled'), 0) as done,
           coalesce(sum(refunded.less) filter (where receipt.receipt_class = 'settled'), 0) as less,
           -- What is not settled is kept until it went back.
           coalesce(sum(refunded.less) filter (where receipt.receipt_class <> 'settled'), 0)
             + coalesce(sum(refunded.more), 0) as more,
           coalesce(sum(refunded.by_hand), 0) as by_hand
      from payments_receipt receipt
      join told_trade told using (channel, channel_number)
      left join back using (channel, channel_number)
      left join refunded on refunded.receipt_id = receipt.id
     where receipt.receipt_class <> 'mismatch'  -- a person decides what becomes of it, and sends back by hand what its
       and not exists (select from payments_case payout  -- channel cannot
                        where payout.kind = 'payout' and payout.subject = receipt.channel_number)
     group by receipt.order_id
), compared as (
    select placed.number, placed.status, kept.amount, kept.less, kept.more,
           case when placed.status in ('READY_FOR_SHIPMENT', 'SHIPPED', 'COMPLETED')
                then placed.amount - kept.done else 0 end + kept.by_hand as due
      from kept join orders_order placed on placed.id = kept.order_id
)
select number, concat('is ', status, ', so the channels should keep ', due, ' of its money, but keep ', amount)
  from compared where amount not between due - less and due + more
