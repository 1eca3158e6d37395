-- Every status was reached by steps of the table, each with its event, and history is kept
with allowed as (
    select * from jsonb_to_recordset(%(moves)s::jsonb) as step (subject_kind text, from_status text, to_status text)
), step as (
    select subject_kind, subject, from_status, to_status, lag(to_status, 1, '') over path as before,
           lead(id) over path is null as is_last
      from shop_event where subject_kind not in ('link', 'mail')  -- which have no status
    window path as (partition by subject_kind, subject order by id)
), thing (subject_kind, subject, status) as (
    select 'order', number, status from orders_order
    union all select 'payment', number, status from payments_payment
    union all select 'refund', number, status from payments_refund
)
select subject,
       concat(subject_kind, ' took a step from ', from_status,
              ', but it was ', coalesce(nullif(before, ''), 'not there yet'))
  from step where from_status <> before
union all
select subject,
       concat(subject_kind, ' took the step "', from_status, '" to ', to_status, ', which the table does not have')
  from step left join allowed using (subject_kind, from_status, to_status) where allowed.to_status is null
union all
select subject,
       concat(subject_kind, ' is ', coalesce(thing.status, 'not there'),
              ', its last event says ', coalesce(ended.to_status, 'nothing'))
  from thing full join (select * from step where is_last) ended using (subject_kind, subject)
 where thing.status is distinct from ended.to_status
union all
select name, 'does not keep the events from being changed'
  from unnest(array['events_are_append_only', 'events_are_kept']) name
 where not exists (select from pg_trigger
                    where tgrelid = 'shop_event'::regclass and tgname = name and tgenabled in ('O', 'A'))
