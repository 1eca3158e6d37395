-- Everything unfinished has exactly one alarm, due in time, and nothing finished has one
with unfinished (kind, subject, due_by) as (
    select 'query_payment', number,
           case when dead_at > statement_timestamp()
                then least(statement_timestamp() + %(query_payment_gap)s, dead_at + interval '1 minute')
                else statement_timestamp() + %(day)s end
      from payments_payment where status = 'PAYING'
    union all  -- it ended before its channel could take no more money
    select 'recheck_payment', number,
           least(statement_timestamp() + %(recheck_payment_gap)s, dead_at + interval '1 minute')
      from payments_payment
     where (status = 'CLOSED' or status = 'FAILED' and action is not null) and dead_at > statement_timestamp()
    union all  -- and the last look at it is to come, or had no answer
    select alarm.kind, number, statement_timestamp() + %(day)s
      from payments_payment join shop_alarm alarm on alarm.kind = 'recheck_payment' and alarm.subject = number
     where status in ('CLOSED', 'FAILED') and dead_at <= statement_timestamp()
    union all
    select 'capture_payment', number, statement_timestamp() + %(capture_payment_gap)s
      from payments_payment where status = 'PAYING' and capture_asked_at is not null and superseded_at is null
    union all
    select 'send_refund', number, statement_timestamp() + %(send_refund_gap)s
      from payments_refund where status = 'REFUNDING'
    union all
    select 'take_callback', id::text, statement_timestamp() + %(take_callback_gap)s
      from payments_callback where taken_at is null
    union all
    select 'expire_order', number, greatest(expires_at, statement_timestamp()) + %(expire_order_gap)s
      from orders_order where status = 'UNPAID'
    union all  -- until its receipt is mailed, an order has the one or the other
    select 'follow_up', placed.number, statement_timestamp() + %(follow_up_gap)s
      from payments_receipt receipt join orders_order placed on placed.id = receipt.order_id
     where receipt.receipt_class = 'settled' and receipt.mailed_at is null
       and not exists (select from shop_alarm alarm where alarm.kind in ('follow_up', 'mail_receipt') and alarm.subject = placed.number)
    union all
    select alarm.kind, alarm.subject,
           statement_timestamp() + case alarm.kind when 'follow_up' then %(follow_up_gap)s
                                                   when 'mail_link' then %(mail_link_gap)s
                                                   else %(mail_receipt_gap)s end
      from shop_alarm alarm join orders_order placed on placed.number = alarm.subject
     where alarm.kind in ('follow_up', 'mail_receipt', 'mail_link')
    union all  -- whose shopper is told that money has come back
    select 'mail_returned', number, statement_timestamp() + %(mail_returned_gap)s
      from payments_refund where not is_told
    union all  -- what waits for an endpoint; an alarm goes by itself when it finds that nothing does
    select 'deliver', subject, statement_timestamp() + interval '25 hours'
      from (select endpoint.id || ':' || event.stream as subject
              from shop_delivery delivery join shop_endpoint endpoint on endpoint.id = delivery.endpoint_id
              join shop_businessevent event on event.id = delivery.event_id
             where delivery.status = 'WAITING' and endpoint.off_at is null
             union
            select subject from shop_alarm
             where kind = 'deliver' and split_part(subject, ':', 1) in (select id::text from shop_endpoint)) told
    union all
    select 'forget_secret', number, greatest(old_until, statement_timestamp()) + interval '2 hours'
      from shop_endpoint where old_until is not null
    union all
    select alarm.kind, number, statement_timestamp() + interval '2 hours'
      from shop_alarm alarm join shop_endpoint on number = alarm.subject where alarm.kind = 'mail_endpoint'
    union all  -- the statement of a day that is over: promised once, and asked for again until it is final
    select kind, subject, statement_timestamp() + interval '2 days'
      from shop_alarm where kind = 'fetch_statement' and subject ~ '^[a-z0-9_]+:[0-9]{4}-[0-9]{2}-[0-9]{2}$'
), watched as (
    select kind, subject, due_by, alarm.id, alarm.due_at,
           row_number() over (partition by kind, subject order by alarm.id) as nth
      from unfinished full join shop_alarm alarm using (kind, subject)
)
select subject, case when kind <> all(%(kinds)s) then concat('has an alarm ', kind, ', which nobody handles')
                     when due_by is null then concat('has an alarm ', kind, ', but it is finished or not there')
                     when id is null then concat('is unfinished, but has no alarm ', kind)
                     when nth > 1 then concat('has more than one alarm ', kind)
                     else concat('has its alarm ', kind, ' at ', due_at, ', which is later than ', due_by) end
  from watched
 where kind <> all(%(kinds)s) or due_by is null or id is null or nth = 2 or due_at > due_by
