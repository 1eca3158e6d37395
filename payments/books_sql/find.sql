-- kind, subject, number, currency, theirs, ours, note
insert into found
select case when theirs.receipt_id is null and payment.id is null then 'stranger'
            when theirs.receipt_id is null then 'unsettled'
            when theirs.our_currency <> theirs.currency then 'currency'
            else 'amount' end,
       theirs.channel_number, coalesce(theirs.our_number, theirs.number), theirs.currency, theirs.amount, theirs.our_amount,
       coalesce(nullif(theirs.our_currency, theirs.currency), '')
  from their_sales theirs
  left join payments_payment payment on payment.channel = %(channel)s and payment.number = theirs.number
 where theirs.receipt_id is null or (theirs.our_amount, theirs.our_currency) <> (theirs.amount, theirs.currency)
union all
select 'doubled', subject, number, currency, total, amount, lines || ' lines'
  from (select channel_number as subject, number, currency, total, amount, lines from their_sales
        union all
        select subject, number, currency, total, amount, lines from their_refunds) theirs
 where lines > 1
union all
select 'doubled', theirs.channel_number, theirs.number, theirs.currency, theirs.total, theirs.amount, 'also on another day'
  from their_sales theirs
 where exists (
       select from payments_entry entry
        where entry.channel_number = theirs.channel_number and entry.kind = 'payment'
          and entry.statement_id = any(%(near)s::bigint[]))
union all
select 'doubled', theirs.subject, theirs.number, theirs.currency, theirs.total, theirs.amount, 'also on another day'
  from their_refunds theirs
 where exists (
       select from payments_entry entry
        where entry.kind = 'refund' and entry.statement_id = any(%(near)s::bigint[])
          and (entry.channel_number, entry.number, entry.trade_number)
              = (theirs.channel_number, theirs.number, theirs.trade_number))
union all
select 'fee', theirs.channel_number, theirs.number, theirs.currency, theirs.fee,
       round(theirs.amount * agreed.rate)::bigint + agreed.fixed, ''
  from their_sales theirs
  join jsonb_to_recordset(%(fees)s::jsonb) as agreed (currency text, rate numeric, fixed bigint)
    on agreed.currency = theirs.currency
 where theirs.lines = 1 and abs(theirs.fee - round(theirs.amount * agreed.rate)::bigint - agreed.fixed) > 1
union all
select case when refund_id is null then 'refund_unknown'
            when our_amount <> amount or our_currency <> currency then 'refund_amount'
            else 'refund_status' end,
       subject, coalesce(our_number, number), currency, amount, our_amount, coalesce(our_status, '')
  from their_refunds
 where is_final and (refund_id is null or our_amount <> amount or our_currency <> currency or not is_refunded)
union all
-- Around midnight a trade may stand in the next day's statement: that has to be there before anything is missing.
select 'missing', channel_number, number, currency, null, amount, ''
  from our_sales
 where not is_elsewhere and at >= %(from)s and at < %(until)s
union all
select 'refund_missing', subject, number, currency, null, amount, ''
  from our_refunds
 where not is_elsewhere and %(has_next)s;
