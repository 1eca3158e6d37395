-- Which of those another statement of the channel has: few, so each is looked for by itself.
update our_sales set is_elsewhere = true
 where exists (
       select from payments_entry entry join payments_statement book on book.id = entry.statement_id
        where entry.channel_number = our_sales.channel_number and entry.kind = 'payment'
          and book.channel = %(channel)s and book.is_current and book.id <> %(statement)s);

update our_refunds set is_elsewhere = true
 where exists (
       select from payments_entry entry join payments_statement book on book.id = entry.statement_id
        where entry.channel_number = our_refunds.channel_number and our_refunds.channel_number <> ''
          and entry.kind = 'refund' and book.channel = %(channel)s and book.is_current and book.id <> %(statement)s)
    or exists (
       select from payments_entry entry join payments_statement book on book.id = entry.statement_id
        where entry.number = our_refunds.number
          and entry.kind = 'refund' and book.channel = %(channel)s and book.is_current and book.id <> %(statement)s);
