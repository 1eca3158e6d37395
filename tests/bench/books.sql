insert into orders_order (number, status, amount, currency, name, email, phone, address, token_salt, content_hash, version,
                          holds_stock, expires_at, was_extended, close_reason, created_at)
select 'N' || lpad(i::text, 15, '0'), 'READY_FOR_SHIPMENT', %(amount)s, 'CNY', 'Anna Lin', 'anna@example.com', '13800000000',
       '1 Garden Road', '', '', 1, true, %(start)s::timestamptz + interval '30 min', false, '', %(start)s
  from generate_series(0, %(lines)s::int - 1) i;

insert into payments_payment (number, order_id, channel, scene, status, amount, currency, request, payer, handle, channel_number,
                              expires_at, dead_at, lease_until, is_unsure, nothing_sent, captures, created_at)
select 'P' || lpad((row_number() over (order by id) - 1)::text, 23, '0'), id, 'wechat', 'qr', 'PAID', amount, currency, '{}', '',
       '', '42' || lpad((row_number() over (order by id) - 1)::text, 26, '0'), expires_at, expires_at, created_at, false, false,
       0, created_at
  from orders_order;

insert into payments_receipt (channel, channel_number, number, payment_id, order_id, receipt_class, amount, currency, source,
                              paid_at, mailed_at, created_at)
select channel, channel_number, number, id, order_id, 'settled', amount, currency, 'CALLBACK',
       created_at + (right(number, 9)::int %% 72000) * interval '1 second', created_at, created_at
  from payments_payment
 where right(number, 9)::int %% %(every)s::int <> 2
