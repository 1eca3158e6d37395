-- Where a list of trades is put while it is compared. All three tables are gone when the transaction ends.
create temporary table told_trade (
    channel text, number text, channel_number text, amount bigint, currency text, paid_at timestamptz
) on commit drop;
create temporary table told_refund (
    channel text, channel_number text, number text, amount bigint, status text
) on commit drop;
-- On its way, or with a person: nobody expects that both sides say the same of these.
create temporary table open_refund on commit drop as
    select number from payments_refund where status in ('PENDING_APPROVAL', 'REFUNDING')
    union
    select subject from payments_case
     where kind in ('refund', 'disagrees') and (resolved_at is null or owner_id is not null)
