-- A batch of unpaid orders, each with a payment that waits for its money, as placing and applying leave them.
-- Numbers are hashes, so that they come into the indexes in no order, like the random ones of the shop.
with numbered as materialized (
    select nth, 'N' || upper(left(md5(%(batch)s || ' order ' || nth), 15)) as order_number,
           'P' || upper(left(md5(%(batch)s || ' payment ' || nth), 23)) as payment_number,
           md5(%(batch)s || ' hash ' || nth) || md5(%(batch)s || ' content ' || nth) as content_hash
      from generate_series(1, %(count)s) nth
), moment as (
    select statement_timestamp() as placed_at, statement_timestamp() + interval '30 minutes' as expires_at,
           statement_timestamp() + interval '35 minutes' as dead_at
), product as (
    insert into orders_product (sku, name, description, picture, price, currency, stock, supplied, is_sold)
    values (%(batch)s, 'Tea', '', '', 12900, 'CNY', 0, %(count)s, true) returning id, name, price
), placed as (
    insert into orders_order (number, status, amount, currency, name, email, phone, address, token_salt, content_hash,
                              version, holds_stock, expires_at, was_extended, close_reason, closed_at)
    select order_number, 'UNPAID', 12900, 'CNY', 'Anna Lin', 'anna@example.com', '13800000000',
           '1 Garden Road, Hangzhou', md5(order_number), content_hash, 3, true, expires_at, false, '', null
      from numbered, moment order by nth returning id, number
), line as (
    insert into orders_orderline (order_id, product_id, name, unit_price, quantity)
    select placed.id, product.id, product.name, product.price, 1 from placed, product
), payment as (
    insert into payments_payment (number, order_id, channel, scene, status, amount, currency, request, action,
                                  channel_number, expires_at, dead_at, lease_until, is_unsure, nothing_sent)
    select payment_number, placed.id, 'wechat', 'qr', 'PAYING', 12900, 'CNY',
           jsonb_build_object('description', 'nodrop ' || order_number,
                              'notify_url', 'https://shop.example/notify/wechat/',
                              'return_url', 'https://shop.example/orders/' || order_number || '/', 'payer', '{}'::jsonb),
           jsonb_build_object('type', 'qr', 'content', 'weixin://wxpay/bizpayurl?pr=' || left(payment_number, 9)),
           '', expires_at, dead_at, placed_at, false, false
      from numbered join placed on placed.number = order_number, moment order by nth
), alarm as (
    insert into shop_alarm (kind, subject, due_at, last_at, attempts)
    select 'expire_order', order_number, expires_at, null, 0 from numbered, moment
    union all
    select 'query_payment', payment_number, placed_at + interval '10 seconds', dead_at, 0 from numbered, moment
)
insert into shop_event (order_number, subject_kind, subject, from_status, to_status, source, actor, note)
select order_number, kind, case kind when 'order' then order_number else payment_number end, before, after, 'SHOPPER',
       '', case kind when 'order' then '{}' else '{"channel": "wechat"}' end::jsonb
  from numbered, (values (1, 'order', '', 'UNPAID'), (2, 'payment', '', 'UNPAID'), (3, 'payment', 'UNPAID', 'PAYING'))
                 step (place, kind, before, after)
 order by nth, place
