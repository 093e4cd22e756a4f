"""Fan-out: one job for all devices of a tenant."""

import os

from harness import APP_OPTIONS, BARE, DEVICE_SQL, PRODUCT, TENANT, Failure, number, seconds, sql

JOB = 'fw-2026-11-rollout-01'


def registries(sizes, largest):
    """The same devices as relations of both databases: one in order, one in none."""
    for database in (PRODUCT, BARE):
        sql(database, f"""
            SET session_replication_role = replica;
            TRUNCATE tenants CASCADE;
            INSERT INTO tenants (tenant_id) VALUES ('{TENANT}');
            CREATE TABLE fleet_sorted AS
                SELECT '{TENANT}' AS tenant_id, {DEVICE_SQL} AS device_id FROM generate_series(1, {largest}) d;
            ALTER TABLE fleet_sorted ADD PRIMARY KEY (tenant_id, device_id);
            CREATE TABLE fleet_random_{largest} AS TABLE fleet_sorted;
            TRUNCATE fleet_random_{largest};
            INSERT INTO fleet_random_{largest} SELECT * FROM fleet_sorted ORDER BY hashtext(device_id);
            ALTER TABLE fleet_random_{largest} ADD PRIMARY KEY (tenant_id, device_id)""")
        for size in sizes:
            sql(database, f"""
                CREATE TABLE fleet_random_{size} AS
                    SELECT * FROM fleet_random_{largest} LIMIT {size};
                ALTER TABLE fleet_random_{size} ADD PRIMARY KEY (tenant_id, device_id)""")
        sql(database, 'VACUUM ANALYZE')
    sql(PRODUCT, 'GRANT SELECT ON ALL TABLES IN SCHEMA public TO app')


def forget_registries():
    sql(PRODUCT, "SELECT use_fleet('devices', 'device_group_members')")
    for database in (PRODUCT, BARE):
        for table in sql(database, "SELECT relname FROM pg_class WHERE relname LIKE 'fleet%' AND relkind = 'r'").split():
            sql(database, f'DROP TABLE {table}')
        sql(database, 'TRUNCATE tenants CASCADE')


def emptied(database):
    sql(database, 'TRUNCATE jobs CASCADE')
    sql('postgres', 'CHECKPOINT')


def checked(database, size):
    if number(database, 'SELECT count(*) FROM job_executions') != size:
        raise Failure('not every device got an execution')


def create_job(fleet, size, options=''):
    emptied(PRODUCT)
    sql(PRODUCT, f"SELECT use_fleet('{fleet}')")
    took = seconds(PRODUCT, f"SELECT * FROM create_job('{TENANT}', 'ota', target_all => true, job_id => '{JOB}')", options)
    checked(PRODUCT, size)
    return took


def bare_job():
    emptied(BARE)
    sql(BARE, f"INSERT INTO jobs (tenant_id, job_id, document_type, target_all) VALUES ('{TENANT}', '{JOB}', 'ota', true)")


def insert_select(fleet, size):
    bare_job()
    took = seconds(BARE, f"""
        INSERT INTO job_executions (job_id, tenant_id, device_id)
            SELECT '{JOB}', tenant_id, device_id FROM {fleet} WHERE tenant_id = '{TENANT}'""")
    checked(BARE, size)
    return took


def copy_without_key(path, size):
    bare_job()
    took = seconds(BARE, f"COPY job_executions (job_id, tenant_id, device_id) FROM '{path}'",
                   '-c session_replication_role=replica')
    checked(BARE, size)
    return took


def measure(figures, size):
    largest = size['fan_out']
    smaller = [n for n in size['fan_out_sizes'] if n < largest]
    path = os.path.join(os.environ['SCRATCH'], 'executions.copy')
    random = f'fleet_random_{largest}'

    try:
        registries(smaller, largest)
        sql(BARE, f"COPY (SELECT '{JOB}', tenant_id, device_id FROM fleet_sorted ORDER BY 3) TO '{path}'")
        values = figures.alternate(f'{largest:,} devices', {
            'create_job, random registry': lambda: create_job(random, largest),
            'INSERT ... SELECT, random registry': lambda: insert_select(random, largest),
            'create_job, random registry, app role': lambda: create_job(random, largest, APP_OPTIONS),
            'INSERT ... SELECT, sorted registry': lambda: insert_select('fleet_sorted', largest),
            'create_job, sorted registry': lambda: create_job('fleet_sorted', largest),
            'COPY without foreign key': lambda: copy_without_key(path, largest),
        }, size['repetitions'], 's', warm_up=True)
        names = list(values)
        for ours, theirs, target in (
                (names[0], names[1], 0.28), (names[2], names[1], 0.28),
                (names[4], names[3], 0.50), (names[2], names[3], 0.50), (names[4], names[5], 1.00)):
            figures.compare(f'fan-out of {largest:,}: {ours[len("create_job, "):]}', values[ours], values[theirs],
                            theirs, 's', ('<=', target))

        # for the plot
        sizes = []
        for n in smaller:
            fleet = f'fleet_random_{n}'
            more = figures.alternate(f'{n:,} devices', {
                'create_job': lambda: create_job(fleet, n),
                'INSERT ... SELECT': lambda: insert_select(fleet, n)}, size['repetitions'], 's')
            sizes += [(n, name, value) for name in more for value in more[name]]
        sizes += [(largest, 'create_job', value) for value in values[names[0]]]
        sizes += [(largest, 'INSERT ... SELECT', value) for value in values[names[1]]]
        figures.series('fan_out_by_size.csv', ['devices', 'how', 'seconds'], sizes)
    finally:
        forget_registries()
