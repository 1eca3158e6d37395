-- Surplus and late money goes back in full, or a person has it
with going as (
    select refund.receipt_id, sum(refund.amount) filter (where refund.status = any(%(reserving)s)) as amount,
           bool_or(asked.id is not null) as is_case
      from payments_refund refund
      left join payments_case asked on asked.kind = 'refund' and asked.subject = refund.number
            and (asked.resolved_at is null or asked.owner_id is not null)
     group by refund.receipt_id
)
select receipt.channel_number,
       concat('is ', receipt.receipt_class, ' money of ', receipt.amount, ' ', receipt.currency,
              ', but only ', coalesce(going.amount, 0), ' goes back, and it is no case')
  from payments_receipt receipt left join going on going.receipt_id = receipt.id
 where receipt.receipt_class in ('surplus', 'late')
   and coalesce(going.amount, 0) < receipt.amount and going.is_case is not true
   and not exists (select from payments_case payout  -- its channel has no way back for money
                    where payout.kind = 'payout' and payout.subject = receipt.channel_number
                      and (payout.resolved_at is null or payout.owner_id is not null))
