-- A key made at most one thing, which is there exactly if the key says so; who has made nothing yet is at work on it
with answered as (  -- a scope says what is made, and for whom; a session's is nobody's business
    select *, concat('key ', id) as name, split_part(scope, ':', 1) as makes,
           substr(scope, strpos(scope, ':') + 1) as made_for
      from shop_idempotencykey
), made (makes, made_for, subject) as (
    select makes, made_for, subject
      from answered join orders_order placed on placed.number = subject where makes in ('orders', 'form')
    union all
    select 'payments', placed.number, payment.number
      from payments_payment payment join orders_order placed on placed.id = payment.order_id
    union all
    select 'refunds', payment.number, refund.number
      from payments_refund refund
      join payments_receipt receipt on receipt.id = refund.receipt_id
      join payments_payment payment on payment.id = receipt.payment_id
    union all  -- by hand in the back office, where the key says of which receipt
    select 'deeds', 'refund', number from payments_refund
)
select name, concat('has made nothing of ', makes, ', and nobody is at work on it')
  from answered where subject = '' and lease_until is null
union all
select name, concat('says that it made ', subject, ' of ', makes, ', which is not there')
  from answered
 where subject <> ''
   and not exists (select from made
                    where made.makes = answered.makes and made.made_for = answered.made_for
                      and made.subject = answered.subject)
union all
select concat('key ', min(id)), concat('has ', count(*), ' answers')
  from answered group by scope, key having count(*) > 1
union all  -- many keys may be shown one live payment, but each order and each refund was made by one
select subject, concat('was made by ', count(*), ' keys: ', string_agg(name, ', ' order by id))
  from answered where subject <> '' and makes <> 'payments'
 group by subject having count(*) > 1
