-- Every refund that a channel made is one of ours, and every REFUNDED one of ours was made, there or by hand
with told as (
    select told_refund.*, receipt.id as receipt_id
      from told_refund join payments_receipt receipt using (channel, channel_number)
)
select told.number, case
       when refund.id is null
            then concat('of ', told.amount, ' was made at ', told.channel, ' from trade ', told.channel_number,
                         ', but is no refund of ours')
       when refund.receipt_id <> told.receipt_id
            then concat('was made from trade ', told.channel_number, ', but is ours from another')
       when refund.amount <> told.amount
            then concat('was made at ', told.channel, ' of ', told.amount, ', but is ours of ', refund.amount)
       else concat('was made at ', told.channel, ', but is ', refund.status) end
  from told left join payments_refund refund using (channel, number)
 where told.status in ('SUCCESS', 'ABNORMAL')
   and (refund.id is null or refund.receipt_id <> told.receipt_id or refund.amount <> told.amount
        or refund.status not in ('REFUNDING', 'REFUNDED'))
   and not exists (select from open_refund where open_refund.number = told.number)
union all
select refund.number, concat('is REFUNDED with ', refund.amount, ', but ', refund.channel, ' has not made it')
  from payments_refund refund
  left join told_refund told on told.channel = refund.channel and told.number = refund.number
        and told.status = 'SUCCESS'
 where refund.status = 'REFUNDED' and refund.kind <> 'BY_HAND' and told.number is null
   and not exists (select from open_refund where open_refund.number = refund.number)
union all
select refund.number, 'was made in the console of the channel, but is no case'
  from payments_refund refund
 where refund.kind = 'CONSOLE'
   and not exists (select from payments_case asked
                    where asked.kind = 'console_refund' and asked.subject = refund.number)
