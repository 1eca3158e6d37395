-- What other systems are told is what happened: each fact once and soon, to every endpoint, without a gap in a stream or the feed
with horizon as (
    select coalesce(max(forgotten_to), 0) as forgotten_to from shop_horizon
), reach as (  -- before the first event that is kept, nobody was told, or nobody has to be able to prove it
    select case when min(at) is null then 'infinity' else greatest(min(at), now() - %(events_kept)s) end as since
      from shop_businessevent cross join horizon where position is null or position > forgotten_to
), declared as (
    select * from jsonb_to_recordset(%(steps)s::jsonb) as s (subject_kind text, from_status text, to_status text, type text)
), steps as (
    select declared.type, history.subject, count(*) as ever, count(*) filter (where history.at > reach.since) as lately
      from shop_event history
      join declared on declared.subject_kind = history.subject_kind and declared.to_status = history.to_status
       and coalesce(declared.from_status, history.from_status) = history.from_status
     cross join reach group by declared.type, history.subject
), told as (
    select type, subject, count(*) as times from shop_businessevent
     where type in (select type from declared) group by type, subject
), money as (
    select case receipt_class when 'settled' then 'payment.settled' else 'payment.surplus' end as type,
           channel, channel_number as trade, exists (
               select from shop_event history cross join reach
                where history.subject_kind = 'payment' and history.subject = receipt.number
                  and history.to_status = 'PAID' and history.at > reach.since) as is_lately
      from payments_receipt receipt where receipt_class in ('settled', 'surplus', 'late')
), told_money as (
    select type, data ->> 'channel' as channel, data ->> 'trade' as trade, count(*) as times
      from shop_businessevent where type in ('payment.settled', 'payment.surplus') group by 1, 2, 3
), told_cases as (
    select data ->> 'case' as pk, min(subject) as subject, count(*) as times
      from shop_businessevent where type = 'case.opened' group by 1
), placed as (
    select *, lag(position) over (partition by stream order by sequence) as position_before from shop_businessevent
)
select coalesce(steps.subject, told.subject),
       concat('happened ', coalesce(steps.ever, 0), ' times, and ', coalesce(steps.lately, 0),
              ' since events are kept, but has ', coalesce(told.times, 0), ' events ', coalesce(steps.type, told.type))
  from steps full join told on told.type = steps.type and told.subject = steps.subject
 where coalesce(told.times, 0) not between coalesce(steps.lately, 0) and coalesce(steps.ever, 0)
union all
select coalesce(money.trade, told_money.trade),
       concat(case when money.trade is null then 'is no such money' else 'is money' end, ', but has ',
              coalesce(told_money.times, 0), ' events ', coalesce(money.type, told_money.type))
  from money full join told_money
    on told_money.type = money.type and told_money.channel = money.channel and told_money.trade = money.trade
 where money.trade is null or told_money.times > 1 or (told_money.times is null and money.is_lately)
union all
select coalesce(opened.subject, told_cases.subject),
       concat(case when opened.id is null then 'is no case' else 'is a case' end, ', but has ',
              coalesce(told_cases.times, 0), ' events case.opened')
  from payments_case opened cross join reach full join told_cases on told_cases.pk = opened.id::text
 where opened.id is null or told_cases.times > 1 or (told_cases.times is null and opened.opened_at > reach.since)
union all
select event.number, concat('is published, but has no delivery for endpoint ', endpoint.number)
  from shop_businessevent event cross join horizon
  join shop_endpoint endpoint on endpoint.removed_at is null and endpoint.since_position < event.position
   and (endpoint.types = '[]' or endpoint.types ? event.type)
  left join shop_delivery delivery on delivery.endpoint_id = endpoint.id and delivery.event_id = event.id
 where event.position > horizon.forgotten_to and delivery.id is null
   and not exists (select from shop_endpoint about where about.number = event.subject)  -- trouble of endpoints: in the feed only
union all
select stream, concat('has ', count(*), ' events from ', min(sequence), ' to ', max(sequence))
  from shop_businessevent cross join horizon group by stream, forgotten_to
having count(*) <> max(sequence) - min(sequence) + 1 or (min(sequence) > 1 and forgotten_to = 0)
union all
select 'feed', concat('has ', count(*), ' events from ', forgotten_to + 1, ' to ', max(position))
  from shop_businessevent cross join horizon where position > forgotten_to group by forgotten_to
having count(*) <> max(position) - forgotten_to
union all
select number, concat('was published before what came before it in ', stream)
  from placed where position < position_before or (position is not null and sequence > 1 and position_before is null
                                                   and exists (select from shop_businessevent earlier
                                                                where earlier.stream = placed.stream
                                                                  and earlier.sequence = placed.sequence - 1))
union all
select number, 'was not published within five minutes'
  from shop_businessevent where position is null and at < now() - interval '5 minutes'
