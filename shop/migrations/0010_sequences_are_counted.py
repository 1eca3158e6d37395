from django.db import migrations

# Whoever writes into an order's stream holds the order's row, so nobody else counts at the moment; the constraint on the
# place in a stream has the last word. A plan that was made while the table was empty would read all of it for each row.
COUNT = """
create function count_in_stream() returns trigger language plpgsql set enable_seqscan = off as $$
begin
    new.sequence = coalesce((select max(sequence) from shop_businessevent where stream = new.stream), 0) + 1;
    return new;
end $$;
create trigger business_events_are_counted before insert on shop_businessevent
    for each row execute function count_in_stream();
create function refuse_to_change_news() returns trigger language plpgsql as $$
begin
    raise exception 'a business event says what was true: it is never changed' using errcode = 'restrict_violation';
end $$;
create trigger business_events_stay before update on shop_businessevent
    for each row
    when ((old.number, old.stream, old.sequence, old.type, old.subject, old.data, old.at)
        is distinct from (new.number, new.stream, new.sequence, new.type, new.subject, new.data, new.at)
        or old.position is not null)
    execute function refuse_to_change_news();
"""
FORGET = """
drop trigger business_events_are_counted on shop_businessevent;
drop function count_in_stream();
drop trigger business_events_stay on shop_businessevent;
drop function refuse_to_change_news();
"""


class Migration(migrations.Migration):
    dependencies = [("shop", "0009_business_events_endpoints_and_keys")]
    operations = [migrations.RunSQL(COUNT, FORGET)]
