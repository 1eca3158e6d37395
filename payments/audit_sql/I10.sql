-- Every trade that was paid at a channel is one receipt of ours, and no receipt is without its trade
with told as (
    select *, row_number() over (partition by channel, channel_number) as nth from told_trade
), compared as (
    select channel, channel_number, nth, told.number, told.amount, told.currency, receipt.receipt_class,
           receipt.number as our_number, receipt.amount as our_amount, receipt.currency as our_currency
      from told full join payments_receipt receipt using (channel, channel_number)
)
select channel_number, case
       when nth > 1 then concat('is listed twice by ', channel)
       when our_number is null
            then concat('was paid at ', channel, ' for ', number, ', ', amount, ' ', currency, ', but has no receipt')
       when number is null
            then concat('has a receipt for ', our_number, ' of ', our_amount, ' ', our_currency,
                         ', but was not paid at ', channel)
       when number <> our_number
            then concat('was paid at ', channel, ' for ', number, ', but its receipt is for ', our_number)
       else concat('was paid at ', channel, ' with ', amount, ' ', currency,
                   ', but its receipt is of ', our_amount, ' ', our_currency) end
  from compared
 where nth > 1 or our_number is null or number is null
    or (number <> our_number and receipt_class <> 'unmatched')
    -- The amount of a mismatch is what the channel once reported, which is why a person has it.
    or ((amount, currency) <> (our_amount, our_currency) and receipt_class <> 'mismatch')
