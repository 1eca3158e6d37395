-- What could not be decided has exactly one open case, and nothing that is decided has one
with balance as (
    select receipt.id, receipt.channel_number, receipt.receipt_class, receipt.amount,
           coalesce(sum(refund.amount) filter (where refund.status = any(%(reserving)s)), 0) as promised,
           coalesce(sum(refund.amount) filter (where refund.status = 'REFUNDED'), 0) as gone
      from payments_receipt receipt left join payments_refund refund on refund.receipt_id = receipt.id
     group by receipt.id
), undecided (kind, subject, since, what) as (
    select receipt_class, channel_number, null::timestamptz, concat('is ', receipt_class, ' money of ', amount)
      from balance where receipt_class in ('mismatch', 'unmatched') and promised < amount
    union all
    select 'refund', refund.number, null,
           concat('is FAILED, and ', balance.amount - balance.gone, ' of its receipt is still here')
      from payments_refund refund join balance on balance.id = refund.receipt_id
     where refund.status = 'FAILED' and balance.gone < balance.amount
    union all
    select 'approval', number, null, 'waits for a second person'
      from payments_refund where status = 'PENDING_APPROVAL'
    union all
    select 'proposal', number, null, 'waits for a second person'
      from payments_proposal where status = 'WAITING'
    union all
    select 'console_refund', number, null, 'was made in the console of the channel'
      from payments_refund where kind = 'CONSOLE'
    union all  -- asked for the last time without an end: from then on its alarm comes once a day
    select 'unanswered', payment.number, alarm.tried_at, 'is PAYING after its last query'
      from payments_payment payment
      join shop_alarm alarm on alarm.kind = 'query_payment' and alarm.subject = payment.number
     where payment.status = 'PAYING' and alarm.tried_at > payment.dead_at
       and alarm.due_at > alarm.tried_at + %(day)s / 2
       and not exists (select from payments_receipt receipt where receipt.payment_id = payment.id)
       and not exists (select from payments_case asked where asked.kind = 'failing' and asked.subject = payment.number
                          and asked.evidence ->> 'alarm' = 'query_payment' and asked.resolved_at is null)
    union all  -- it had ended before, and the last look at it had no answer
    select 'unanswered', alarm.subject, alarm.tried_at, 'may have been paid when it ended, and nobody could say'
      from shop_alarm alarm
     where alarm.kind = 'recheck_payment' and alarm.tried_at >= alarm.last_at
       and alarm.due_at > alarm.tried_at + %(day)s / 2
       and not exists (select from payments_case asked where asked.kind = 'failing' and asked.subject = alarm.subject
                          and asked.evidence ->> 'alarm' = 'recheck_payment' and asked.resolved_at is null)
), open_case as (
    select kind, subject, evidence, count(*) over (partition by kind, subject) as times
      from payments_case where resolved_at is null
), may_be_open (kind, subject) as (
    select receipt_class, channel_number from balance
     where receipt_class in ('mismatch', 'unmatched') and (gone < amount or amount = 0)
    union all
    select 'unmatched', subject from open_case where evidence ->> 'callback' is not null
       and not exists (select from payments_callback callback
                        where callback.id::text = open_case.evidence ->> 'callback'
                          and callback.taken_at is not null and callback.payment_id is not null
                          and callback.report ->> 'outcome' <> 'unknown')
    union all
    select 'refund', refund.number from payments_refund refund join balance on balance.id = refund.receipt_id
     where refund.status = 'REFUNDING' or refund.status = 'FAILED' and balance.gone < balance.amount
    union all select 'approval', number from payments_refund where status = 'PENDING_APPROVAL'
    union all select 'console_refund', number from payments_refund where kind = 'CONSOLE'
    union all select 'payout', channel_number from balance where receipt_class in ('surplus', 'late') and gone < amount
    union all select 'proposal', number from payments_proposal where status = 'WAITING'
    union all select 'unanswered', number from payments_payment where status = 'PAYING'
    union all select 'unanswered', subject from shop_alarm where kind = 'recheck_payment' and tried_at >= last_at
    union all select 'unanswered', number from orders_order where status = 'UNPAID'
    union all
    select 'failing', open_case.subject from open_case
      join shop_alarm alarm on alarm.kind = open_case.evidence ->> 'alarm' and alarm.subject = open_case.subject
     where open_case.kind = 'failing'
    -- What these ask stands in no other row: only a person can say that it is answered.
    union all select kind, subject from open_case where kind in ('disagrees', 'no_alarm', 'mail', 'irregular', 'books')
)
select undecided.subject, concat(what, ', but no case about it is open')
  from undecided
 where not exists (select from payments_case asked
                    where asked.kind = undecided.kind and asked.subject = undecided.subject
                      and (asked.resolved_at is null or asked.owner_id is not null or asked.resolved_at > since))
union all
select subject, concat('has ', times, ' open cases ', kind)
  from open_case where times > 1 group by kind, subject, times
union all
select subject, concat('has an open case ', kind, ', but is decided or not there')
  from open_case
 where not exists (select from may_be_open may
                    where may.kind = open_case.kind and may.subject = open_case.subject)
