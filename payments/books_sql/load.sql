-- What one statement says, a row for each trade and each refund, beside what we have about it.
create temporary table their_sales on commit drop as
with theirs as (
    select channel_number, min(number) as number, currency, count(*) as lines, sum(amount)::bigint as total,
           min(amount) as amount, min(fee) as fee
      from payments_entry
     where statement_id = %(statement)s and kind = 'payment'
     group by channel_number, currency
)
select theirs.*, receipt.id as receipt_id, receipt.amount as our_amount, receipt.currency as our_currency,
       receipt.number as our_number,
       coalesce(receipt.paid_at, receipt.created_at) >= %(start)s
       and coalesce(receipt.paid_at, receipt.created_at) < %(end)s as is_of_day
  from theirs
  left join payments_receipt receipt
    on receipt.channel = %(channel)s and receipt.channel_number = theirs.channel_number;

-- A refund is known by the channel's number, or by ours; some channels have no number of their own for it.
create temporary table their_refunds on commit drop as
with theirs as (
    select coalesce(nullif(channel_number, ''), left(concat_ws('/', nullif(trade_number, ''), nullif(number, '')), 64)) as subject,
           min(channel_number) as channel_number, min(number) as number, min(payment_number) as payment_number,
           min(trade_number) as trade_number, currency, count(*) as lines, sum(amount)::bigint as total,
           min(amount) as amount, bool_or(%(is_final)s or code = any(%(final_codes)s::text[])) as is_final
      from payments_entry
     where statement_id = %(statement)s and kind = 'refund'
     group by 1, currency
)
select theirs.*, refund.id as refund_id, refund.amount as our_amount, refund.status as our_status,
       refund.number as our_number, receipt.currency as our_currency,
       refund.status = 'REFUNDED' as is_refunded,
       coalesce(refund.ended_at, refund.created_at) >= %(start)s
       and coalesce(refund.ended_at, refund.created_at) < %(end)s as is_of_day
  from theirs
  left join (payments_refund named join payments_receipt told on told.id = named.receipt_id)
    on named.channel = %(channel)s and theirs.number <> ''
   and named.number in (theirs.number, left(theirs.trade_number || '/' || theirs.number, 64))
   and theirs.trade_number in ('', told.channel_number)
  left join payments_refund numbered
    on numbered.channel = %(channel)s and numbered.channel_number = theirs.channel_number and theirs.channel_number <> ''
  left join payments_refund refund on refund.id = coalesce(numbered.id, named.id)
  left join payments_receipt receipt on receipt.id = refund.receipt_id;

-- What we have of that day and it does not say.
create temporary table our_sales on commit drop as
select receipt.channel_number, receipt.number, receipt.amount, receipt.currency,
       coalesce(receipt.paid_at, receipt.created_at) as at, false as is_elsewhere
  from payments_receipt receipt
 where receipt.channel = %(channel)s
   and coalesce(receipt.paid_at, receipt.created_at) >= %(start)s
   and coalesce(receipt.paid_at, receipt.created_at) < %(end)s
   and not exists (select from their_sales where their_sales.receipt_id = receipt.id);

create temporary table our_refunds on commit drop as
select coalesce(nullif(refund.channel_number, ''), left(concat_ws('/', receipt.channel_number, refund.number), 64)) as subject,
       refund.number, refund.channel_number,
       receipt.channel_number as trade_number, refund.amount, receipt.currency, refund.ended_at as at, false as is_elsewhere
  from payments_refund refund join payments_receipt receipt on receipt.id = refund.receipt_id
 where refund.channel = %(channel)s
   and refund.status = 'REFUNDED' and refund.kind <> 'BY_HAND'
   and refund.ended_at >= %(start)s and refund.ended_at < %(end)s
   and not exists (select from their_refunds where their_refunds.refund_id = refund.id);
