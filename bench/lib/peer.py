"""graphile-worker, from npm: its own schema, and the statements its own client sends.

Nothing of its SQL is kept here: the statements are built by its own modules, and
sent by pgbench like ours.
"""

import json
import os
import re
import subprocess

from harness import Failure, Pgbench, number, say, sql, steady

DATABASE = 'graphile'
BATCH = 100

# Runs the migration of the package, and has its two modules build the statements that
# take and end a batch, with a connection that only writes down what it is given.
CAPTURE = r"""
import { makeWorkerUtils } from './node_modules/graphile-worker/dist/index.js';
import { batchGetJobs } from './node_modules/graphile-worker/dist/sql/getJobs.js';
import { batchCompleteJobs } from './node_modules/graphile-worker/dist/sql/completeJobs.js';

const utils = await makeWorkerUtils({ connectionString: process.env.PEER });
await utils.migrate();
await utils.release();

const sent = [];
const client = {
    query: async (query) => {
        sent.push({ text: query.text, values: query.values });
        return { rows: [{ id: 1, identifier: 't' }] };
    },
};
const connect = Object.assign(async (use) => use(client), { withRetries: async (use) => use(client) });
const options = {
    escapedWorkerSchema: 'graphile_worker', workerSchema: 'graphile_worker', logger: console,
    resolvedPreset: { worker: { preparedStatements: false, useNodeTime: false } },
};
const batch = Number(process.argv[2]);
await batchGetJobs(options, connect, { t: null }, 'pool-1', null, batch);
const take = sent.at(-1);
await batchCompleteJobs(options, connect, 'pool-1', Array.from({ length: batch }, (_, id) => ({ id })));
console.log('CAPTURED ' + JSON.stringify({ take, end: sent.at(-1) }));
process.exit(0);
"""

class Graphile:
    def __init__(self):
        self.folder = os.path.join(os.environ['SCRATCH'], 'peer')
        self.script = os.path.join(self.folder, 'batch.sql')
        self.installed = False
        self.reason = 'npm could not install it'
        if os.path.isdir(os.path.join(self.folder, 'node_modules', 'graphile-worker')):
            try:
                self.prepare()
                self.installed = True
            except (Failure, OSError, subprocess.SubprocessError) as failure:
                self.reason = f'its statements could not be captured ({failure})'
        say(f'  graphile-worker: {"installed" if self.installed else self.reason}')

    def prepare(self):
        sql('postgres', f'DROP DATABASE IF EXISTS {DATABASE}')
        sql('postgres', f"CREATE DATABASE {DATABASE} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8'")
        path = os.path.join(self.folder, 'capture.mjs')
        with open(path, 'w', encoding='utf-8') as script:
            script.write(CAPTURE)
        done = subprocess.run(
            ['node', path, str(BATCH)], cwd=self.folder, capture_output=True, text=True, timeout=60,
            env=dict(os.environ, PEER=f'socket:{os.environ["PGHOST"]}?db={DATABASE}&user=postgres'))
        found = re.search(r'^CAPTURED (.*)$', done.stdout, re.M)
        if done.returncode != 0 or not found:
            raise Failure((done.stderr or done.stdout).strip()[-200:].replace('\n', ' '))
        statements = json.loads(found.group(1))
        take, end = statements['take'], statements['end']
        self.write_script(take, end)
        sql(DATABASE, 'CREATE EXTENSION pg_prewarm')
        # what does not work is to be known before anything is measured
        self.fill(BATCH)
        Pgbench(DATABASE, self.script, 1, transactions=1).finish()
        if number(DATABASE, 'SELECT count(*) FROM graphile_worker._private_jobs') != 0:
            raise Failure('they do not end what they take')

    def write_script(self, take, end):
        """Its two statements as one script; the ids taken are what is ended."""
        def literal(value):
            if isinstance(value, list):
                return "'{" + ','.join(str(v) for v in value) + "}'"
            if isinstance(value, bool):
                return 'true' if value else 'false'
            if value is None:
                return 'NULL'
            return str(value) if isinstance(value, (int, float)) else "'" + str(value) + "'"

        def filled(statement, replaced):
            text = re.sub(r'\$(\d+)', lambda m: replaced.get(int(m.group(1)))
                          or literal(statement['values'][int(m.group(1)) - 1]), statement['text'])
            return ' '.join(line.split('--')[0].strip() for line in text.splitlines()).strip().rstrip(';')

        # the parameter of the second statement that holds the ids of the jobs
        ids = next(n for n, value in enumerate(end['values'], 1) if isinstance(value, list))
        # its client keeps the columns of the job where two have the same name
        taken = re.sub(r'\breturning \*$', 'returning jobs.*', filled(take, {}), flags=re.I)
        # a statement that changes data must be at the top level of a WITH
        head, tail = self.split(taken)
        taken = (f"{head}, taken_by_client AS ({tail})" if head else f"WITH taken_by_client AS ({tail})") + \
            " SELECT coalesce(array_agg(id)::text, '{}') AS ids, max(payload::text) AS payload FROM taken_by_client"
        with open(self.script, 'w', encoding='utf-8') as script:
            script.write(f'{taken} \\gset\n{filled(end, {ids: ":ids"})};\n')

    @staticmethod
    def split(text):
        """WITH a AS (...), b AS (...) UPDATE ... -> what is before the last part, and it."""
        if not re.match(r'with\b', text, re.I):
            return '', text
        depth = 0
        for position, letter in enumerate(text):
            depth += (letter == '(') - (letter == ')')
            if depth == 0 and re.match(r'\)\s*(update|delete|select)\b', text[position:], re.I):
                return text[:position + 1], text[position + 1:].strip()
        raise Failure('a statement of another form than expected')

    def fill(self, jobs):
        sql(DATABASE, f"""
            TRUNCATE graphile_worker._private_jobs;
            SELECT count(*) FROM graphile_worker.add_jobs((
                SELECT array_agg(row('t', json_build_object('device_id', (100000000000 + d)::text),
                    null, null, null, null, null, null)::graphile_worker.job_spec)
                FROM generate_series(1, {jobs}) d));
            VACUUM ANALYZE graphile_worker._private_jobs;
            SELECT pg_prewarm('graphile_worker._private_jobs')""")
        sql('postgres', 'CHECKPOINT')

    def batch(self, clients, duration, on):
        before = number(DATABASE, 'SELECT count(*) FROM graphile_worker._private_jobs')
        run, rate = steady(DATABASE, self.script, clients, duration, on, 'graphile_worker._private_jobs')
        left = number(DATABASE, 'SELECT count(*) FROM graphile_worker._private_jobs')
        if left == 0:
            raise Failure('the queue of graphile-worker ran dry')
        return (before - left) / run.transactions * rate
