-- For each channel, day (UTC) and currency: paid less refunded at the channel is received less refunded there by us
with theirs as (
    select channel, paid_at, currency, amount from told_trade
    union all
    select told.channel, trade.paid_at, trade.currency, -told.amount
      from told_refund told join told_trade trade using (channel, channel_number)
     where told.status = 'SUCCESS' and not exists (select from open_refund where open_refund.number = told.number)
), received as (
    select receipt.id, receipt.channel, coalesce(receipt.paid_at, told.paid_at, receipt.created_at) as paid_at,
           case when is_unsure then told.currency else receipt.currency end as currency,
           case when is_unsure then told.amount else receipt.amount end as amount
      from payments_receipt receipt
      left join (select distinct on (channel, channel_number) * from told_trade) told using (channel, channel_number)
      -- Of a mismatch only the channel knows what came in; a person has it.
     cross join lateral (select receipt.receipt_class = 'mismatch' and told.amount is not null as is_unsure) unsure
), ours as (
    select channel, paid_at, currency, amount from received
    union all
    select received.channel, received.paid_at, received.currency, -refund.amount
      from payments_refund refund join received on received.id = refund.receipt_id
     where refund.status = 'REFUNDED' and refund.kind <> 'BY_HAND'
       and not exists (select from open_refund where open_refund.number = refund.number)
), total (channel, day, currency, theirs, ours) as (
    select channel, (paid_at at time zone 'UTC')::date, currency, sum(theirs), sum(ours)
      from (select channel, paid_at, currency, amount as theirs, 0 as ours from theirs
            union all select channel, paid_at, currency, 0, amount from ours) both_sides
     group by 1, 2, 3
)
select concat(channel, ' ', day, ' ', currency), concat('keeps ', theirs, ' at the channel, but ', ours, ' here')
  from total where theirs <> ours
