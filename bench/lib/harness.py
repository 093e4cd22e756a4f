"""psql, pgbench and figures: what the rows are written with."""

import contextlib
import csv
import glob
import os
import re
import signal
import statistics
import subprocess
import sys
import time

BENCH = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TENANT = 'tenant-0001'

# the database with the extension, the one with the tables of migration 077 alone, and
# one whose job_executions is the least that can hold them
PRODUCT = 'product'
BARE = 'bare'
LEAST = 'least'

# An application's session: an ordinary role, row security, one tenant.
APP_OPTIONS = f'-c role=app -c app.tenant_id={TENANT}'


class Failure(Exception):
    """A row could not be measured, or its result is not what was to be measured."""


def say(text):
    print(text, file=sys.stderr, flush=True)


# ----------------------------------------------------------------
# SQL
# ----------------------------------------------------------------

def environment(options):
    return dict(os.environ, PGOPTIONS=options)


def sql(database, text, options=''):
    """Run a script with psql and return its output, unaligned."""
    done = subprocess.run(
        ['psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', database],
        input=text, capture_output=True, text=True, env=environment(options))
    if done.returncode != 0:
        raise Failure(done.stderr.strip())
    return done.stdout.strip()


def number(database, text, options=''):
    return float(sql(database, text, options))


def sql_file(database, name, options=''):
    with open(os.path.join(BENCH, name), encoding='utf-8') as script:
        return sql(database, script.read(), options)


def seconds(database, statement, options=''):
    """How long a statement takes, its commit included, by the server's clock."""
    output = sql(database, f"""
        SELECT clock_timestamp() AS began \\gset
        {statement} \\g /dev/null
        SELECT extract(epoch FROM clock_timestamp() - :'began'::timestamptz);""", options)
    return float(output.splitlines()[-1])


class Session:
    """A psql that stays connected, for what has to be held open."""

    def __init__(self, database, text):
        self.process = subprocess.Popen(
            ['psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', database],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdin.write(text + "\n\\echo held\n")
        self.process.stdin.flush()
        while True:
            line = self.process.stdout.readline()
            if line == '':
                raise Failure('a session ended early')
            if line.strip() == 'held':
                break

    def close(self):
        self.process.stdin.close()
        self.process.stdout.read()
        self.process.wait()


def wait_until(database, condition, patience=120):
    deadline = time.monotonic() + patience
    while sql(database, f'SELECT {condition}') != 't':
        if time.monotonic() > deadline:
            raise Failure(f'gave up waiting for: {condition}')
        time.sleep(0.02)


# ----------------------------------------------------------------
# pgbench
# ----------------------------------------------------------------

def complaint(output):
    """What pgbench has to say, less the summary of its options."""
    lines = [line for line in output.splitlines() if 'error' in line.lower() or 'fatal' in line.lower()]
    return ' / '.join(lines[:3]) or output.strip()[-200:].replace('\n', ' / ')


class Run:
    """What one run of pgbench did."""

    def __init__(self, output, log):
        tps = re.search(r'^tps = ([0-9.]+)', output, re.M)
        count = re.search(r'^number of transactions actually processed: (\d+)', output, re.M)
        failed = re.search(r'^number of failed transactions: (\d+)', output, re.M)
        if not tps or not count or (failed and int(failed.group(1)) > 0):
            raise Failure(f'pgbench did nothing, or not all of it: {complaint(output)}')
        self.tps = float(tps.group(1))
        self.transactions = int(count.group(1))
        self.elapsed = self.transactions / self.tps
        self.log = log              # (end, latency in seconds, client), if asked for

    def steady_rate(self):
        """Transactions a second from when every client has ended its first one."""
        first = {}
        for end, _, client in self.log:
            first.setdefault(client, end)
        began, over = max(first.values()), self.log[-1][0]
        return sum(1 for end, _, _ in self.log if end > began) / (over - began)


# seconds; longer than anything that is ended when it has run long enough
LONG = 3600


class Pgbench:
    """A running pgbench; finish() waits for it, or ends it early."""

    serial = 0

    def __init__(self, database, script, clients, duration=None, transactions=None, rate=None,
                 options='', log=False, threads=None, **variables):
        Pgbench.serial += 1
        self.prefix = os.path.join(os.environ['SCRATCH'], f'pgbench-{Pgbench.serial}') if log else None
        command = ['pgbench', '-n', '-M', 'prepared', '-c', str(clients),
                   '-j', str(threads or min(2, clients)),
                   '-f', os.path.join(BENCH, script)]
        if duration is not None:
            command += ['-T', str(duration)]
        if transactions is not None:
            command += ['-t', str(transactions)]
        if rate is not None:
            command += ['-R', str(rate)]
        if log:
            command += ['-l', f'--log-prefix={self.prefix}']
        variables = dict({'n': 0, 'clients': clients}, **variables)
        for name, value in variables.items():
            command += ['-D', f'{name}={value}']
        self.process = subprocess.Popen(command + [database], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True, env=environment(options))

    def finish(self, now=False):
        """Wait for it; with now, have it end as if its time were over, which is what the signal is for."""
        if now:
            if self.process.poll() is not None:
                raise Failure(f'pgbench ended by itself: {complaint(self.process.stdout.read())}')
            self.process.send_signal(signal.SIGALRM)
        output = self.process.communicate()[0]
        log = []
        if self.prefix:
            for name in glob.glob(self.prefix + '.*'):
                with open(name, encoding='ascii') as lines:
                    for line in lines:
                        words = line.split()
                        log.append((int(words[4]) + int(words[5]) / 1e6, int(words[2]) / 1e6, int(words[0])))
                os.unlink(name)
            log.sort()
        if self.process.returncode != 0:
            raise Failure(f'pgbench: {complaint(output)}')
        return Run(output, log)


def pgbench(database, script, clients, **arguments):
    return Pgbench(database, script, clients, **arguments).finish()


def synchronous(on):
    return f"-c synchronous_commit={'on' if on else 'off'}"


def warm(script, table):
    """The script, before whose first turn each client reads the whole table once."""
    path = os.path.join(os.environ['SCRATCH'], f'warm-{os.path.basename(script)}')
    with open(os.path.join(BENCH, script), encoding='utf-8') as plain, open(path, 'w', encoding='utf-8') as warmed:
        # a whole row, since an index alone would do to count them
        warmed.write(f'\\if :cold\n    SELECT count(t) AS warm_up FROM {table} t;\n    \\set cold 0\n\\endif\n')
        warmed.write(plain.read())
    return path


def steady(database, script, clients, duration, on, table='job_executions', **arguments):
    """A run of the given length once the clients are warm: (run, rate).

    A new process has none of the shared buffers in its page table, a pooled connection
    has them all; so the time begins when the last client has read the table once.
    """
    running = Pgbench(database, warm(script, table), clients, duration=LONG, log=True, cold=1,
                      options=synchronous(on) + ' -c max_parallel_workers_per_gather=0', **arguments)
    wait_until('postgres', f"""count(*) >= {clients} FROM pg_stat_activity
        WHERE datname = '{database}' AND application_name = 'pgbench'
        AND query <> '' AND query NOT LIKE '%warm_up%'""")
    time.sleep(duration)
    run = running.finish(now=True)
    return run, run.steady_rate()


def percentile(values, share):
    ordered = sorted(values)
    if not ordered:
        raise Failure('nothing was measured')
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


# ----------------------------------------------------------------
# Data
# ----------------------------------------------------------------

# 12 and 19 characters, as long as names that people give; and numbers, so that a
# script of pgbench can name one without an expression that would be measured too
def device_id(number_):
    return f'{100000000000 + number_}'


def job_id(number_):
    return f'{2026110000000000000 + number_}'


DEVICE_SQL = '(100000000000 + d)::text'
JOB_SQL = '(2026110000000000000 + j)::text'


def fill_wal():
    """Go once through the WAL that is kept, as a server in use has.

    A new server makes each segment when it comes to it, 16 MB of zeroes and their
    flush, and everybody who commits waits meanwhile.
    """
    sql('postgres', """
        SELECT count(s) FROM generate_series(1, (
                SELECT min_size.setting::bigint * 1024 * 1024 / segment.setting::bigint
                FROM pg_settings min_size, pg_settings segment
                WHERE min_size.name = 'min_wal_size' AND segment.name = 'wal_segment_size')) n,
            LATERAL (SELECT pg_logical_emit_message(false, 'bench', n::text), pg_switch_wal()) s""")
    sql('postgres', 'CHECKPOINT')
    sql('postgres', 'CHECKPOINT')


def create_databases():
    fill_wal()
    for database in (PRODUCT, BARE, LEAST):
        sql('postgres', f"""
            CREATE DATABASE {database} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8'""")
        sql(database, 'CREATE EXTENSION pg_prewarm')
    for database in (PRODUCT, BARE):
        sql(database, 'CREATE EXTENSION iot_jobs')
    # what is left is migration 077 and nothing of ours
    sql(BARE, 'DROP EXTENSION iot_jobs')
    if number(BARE, "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal") != 0:
        raise Failure('the bare tables have a trigger')
    sql('postgres', 'CREATE ROLE app')
    sql(PRODUCT, 'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app;'
                 'GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO app')
    sql_file(PRODUCT, 'latency.sql')
    sql_file(BARE, 'queue.sql')
    sql_file(LEAST, 'least.sql')


def empty(database):
    sql(database, 'TRUNCATE tenants CASCADE')


@contextlib.contextmanager
def lean_indexes():
    """The product on its lean indexes, its tables empty before and after."""
    empty(PRODUCT)
    sql(PRODUCT, "SELECT use_job_indexes('lean')")
    try:
        yield
    finally:
        empty(PRODUCT)
        sql(PRODUCT, "SELECT use_job_indexes('contract')")


def register(database, devices):
    """The registry: one tenant with this many devices, in order."""
    empty(database)
    sql(database, f"""
        SET session_replication_role = replica;
        INSERT INTO tenants (tenant_id) VALUES ('{TENANT}');
        INSERT INTO devices (tenant_id, device_id)
            SELECT '{TENANT}', {DEVICE_SQL} FROM generate_series(1, {devices}) d;
        VACUUM ANALYZE devices""")


def load(database, jobs, devices, status='QUEUED', first_device=1, first_job=1):
    """Jobs with an execution each for the same devices, written without any trigger.

    Both databases get the same rows in the same order of keys, so what is measured
    afterwards starts from the same pages.
    """
    started = 'NULL' if status == 'QUEUED' else 'now()'
    sql(database, f"""
        SET session_replication_role = replica;
        INSERT INTO tenants (tenant_id) VALUES ('{TENANT}') ON CONFLICT DO NOTHING;
        INSERT INTO jobs (tenant_id, job_id, document_type, document_params, target_all, created_at)
            SELECT '{TENANT}', {JOB_SQL}, 'ota',
                '{{"url": "https://fw.example/img.bin", "sha256": "0123456789abcdef"}}', true,
                now() - interval '1 hour' + j * interval '1 ms'
            FROM generate_series({first_job}, {first_job + jobs - 1}) j;
        INSERT INTO job_executions (tenant_id, job_id, device_id, status, started_at, queued_at)
            SELECT '{TENANT}', {JOB_SQL}, {DEVICE_SQL}, '{status}', {started},
                now() - interval '1 hour' + j * interval '1 ms'
            FROM generate_series({first_job}, {first_job + jobs - 1}) j,
                generate_series({first_device}, {first_device + devices - 1}) d""")


def load_least(executions):
    """So many rows of the database "least", in memory."""
    sql(LEAST, f"""
        TRUNCATE job_executions;
        INSERT INTO job_executions (number) SELECT generate_series(1, {executions});
        VACUUM (ANALYZE) job_executions;
        SELECT count(pg_prewarm(c)) FROM unnest('{{job_executions, job_executions_pkey}}'::regclass[]) c""")


def settle(*databases):
    """Begin alike: vacuumed, analysed, in memory, and with the next checkpoint far away."""
    for database in databases:
        sql(database, """
            VACUUM (ANALYZE) jobs;
            VACUUM (ANALYZE) job_executions;
            SELECT count(pg_prewarm(c.oid)) FROM pg_class c
            WHERE relname IN ('jobs', 'job_executions')
               OR oid IN (SELECT indexrelid FROM pg_index
                          WHERE indrelid IN ('jobs'::regclass, 'job_executions'::regclass))""")
    sql('postgres', 'CHECKPOINT')


def count(database, status):
    return int(number(database, f"SELECT count(*) FROM job_executions WHERE status = '{status}'"))


# ----------------------------------------------------------------
# Figures
# ----------------------------------------------------------------

class Figures:
    """Everything measured: raw figures into a file at once, and lines of the table."""

    def __init__(self, folder, mode):
        os.makedirs(folder, exist_ok=True)
        self.folder = folder
        self.mode = mode
        self.lines = []
        self.row = None
        self.raw = open(os.path.join(folder, 'figures.csv'), 'w', newline='', encoding='utf-8')
        self.writer = csv.writer(self.raw)
        self.writer.writerow(['row', 'case', 'variant', 'repetition', 'value', 'unit'])

    def record(self, case, variant, repetition, value, unit):
        self.writer.writerow([self.row, case, variant, repetition, f'{value:.6g}', unit])
        self.raw.flush()
        say(f'  {case}: {variant} {pretty(value)} {unit}')

    def series(self, name, header, rows):
        with open(os.path.join(self.folder, name), 'w', newline='', encoding='utf-8') as output:
            writer = csv.writer(output)
            writer.writerow(header)
            writer.writerows(rows)

    def alternate(self, case, variants, repetitions, unit, warm_up=False):
        """A B A B: one figure of each variant in turn; variants is {name: function}.

        The first use of memory and files costs what no later use does; with warm_up
        a round goes before that does not count.
        """
        values = {name: [] for name in variants}
        if warm_up:
            for measure in variants.values():
                measure()
        for repetition in range(1, repetitions + 1):
            for name, measure in variants.items():
                value = measure()
                values[name].append(value)
                self.record(case, name, repetition, value, unit)
        return values

    def compare(self, case, ours, theirs, against, unit, target, inverse=False):
        """A line with the ratio of pairs taken one after the other.

        target is ('>=', 1.1) or ('<=', 0.8); inverse: theirs over ours (times faster).
        """
        ratios = [(b / a if inverse else a / b) for a, b in zip(ours, theirs) if a and b]
        self.lines.append({
            'case': case, 'ours': figure(ours, unit), 'against': against, 'theirs': figure(theirs, unit),
            'ratio': spread(ratios), 'value': statistics.median(ratios), 'target': target})

    def absolute(self, case, values, unit, target):
        """A line whose target is a figure and not a ratio."""
        self.lines.append({
            'case': case, 'ours': figure(values, unit), 'against': '', 'theirs': '',
            'ratio': '', 'value': statistics.median(values), 'target': target})

    def note(self, case, text):
        self.lines.append({'case': case, 'ours': text, 'against': '', 'theirs': '',
                           'ratio': '', 'value': None, 'target': None})


def pretty(value):
    if value == 0:
        return '0'
    if abs(value) >= 100:
        return f'{value:,.0f}'
    return f'{value:.3g}'


def spread(values):
    middle = statistics.median(values)
    if len(values) < 2:
        return f'{middle:.2f}'
    return f'{middle:.2f} ({min(values):.2f} to {max(values):.2f})'


def figure(values, unit):
    """Median and half the range, in per cent of the median."""
    middle = statistics.median(values)
    text = f'{pretty(middle)} {unit}'
    if len(values) > 1 and middle:
        text += f' ±{50 * (max(values) - min(values)) / middle:.0f}%'
    return text


def met(value, target):
    word, bound = target
    return value >= bound if word == '>=' else value <= bound
