-- side, currency, what, how many, how much: both sums of the day, and what explains each cent between them.
select 'sales', currency, 'theirs', sum(lines)::bigint, sum(total)::bigint from their_sales group by currency
union all
select 'sales', currency, 'not_here', count(*), sum(amount)::bigint
  from their_sales where our_currency is distinct from currency group by currency
union all
select 'sales', currency, 'amount', count(*), sum(amount - our_amount)::bigint
  from their_sales where our_currency = currency and our_amount <> amount group by currency
union all
select 'sales', currency, 'doubled', count(*), sum(total - amount)::bigint
  from their_sales where lines > 1 group by currency
union all
select 'sales', currency, 'other_day_here', count(*), sum(our_amount)::bigint
  from their_sales where our_currency = currency and not is_of_day group by currency
union all
select 'sales', our_currency, 'other_currency', count(*), -sum(our_amount)::bigint
  from (select distinct receipt_id, our_amount, our_currency
          from their_sales wrong
         where our_currency <> currency and is_of_day and not exists (
               select from their_sales good
                where good.receipt_id = wrong.receipt_id and good.currency = wrong.our_currency)) wrong
 group by our_currency
union all
select 'sales', currency, case when is_elsewhere then 'other_day_there' else 'not_there' end, count(*), -sum(amount)::bigint
  from our_sales group by currency, is_elsewhere
union all
select 'sales', currency, 'ours', count(*), sum(amount)::bigint
  from payments_receipt
 where channel = %(channel)s
   and coalesce(paid_at, created_at) >= %(start)s and coalesce(paid_at, created_at) < %(end)s
 group by currency
union all
select 'fees', currency, 'theirs', count(*), sum(fee)::bigint
  from payments_entry where statement_id = %(statement)s group by currency
union all
select 'refunds', currency, 'theirs', sum(lines)::bigint, sum(total)::bigint from their_refunds group by currency
union all
select 'refunds', currency, 'not_here', count(*), sum(amount)::bigint
  from their_refunds where our_currency is distinct from currency or not is_refunded group by currency
union all
select 'refunds', currency, 'amount', count(*), sum(amount - our_amount)::bigint
  from their_refunds where our_currency = currency and is_refunded and our_amount <> amount group by currency
union all
select 'refunds', currency, 'doubled', count(*), sum(total - amount)::bigint
  from their_refunds where lines > 1 group by currency
union all
select 'refunds', currency, 'other_day_here', count(*), sum(our_amount)::bigint
  from their_refunds where our_currency = currency and is_refunded and not is_of_day group by currency
union all
select 'refunds', our_currency, 'other_currency', count(*), -sum(our_amount)::bigint
  from their_refunds where our_currency <> currency and is_refunded and is_of_day group by our_currency
union all
select 'refunds', currency, case when is_elsewhere then 'other_day_there' else 'not_there' end, count(*), -sum(amount)::bigint
  from our_refunds group by currency, is_elsewhere
union all
select 'refunds', receipt.currency, 'ours', count(*), sum(refund.amount)::bigint
  from payments_refund refund join payments_receipt receipt on receipt.id = refund.receipt_id
 where refund.channel = %(channel)s and refund.status = 'REFUNDED' and refund.kind <> 'BY_HAND'
   and refund.ended_at >= %(start)s and refund.ended_at < %(end)s
 group by receipt.currency
