# Arguments that nobody sane would pass, to every function that the catalog has: no
# internal error, no crash, no SQLSTATE that is not documented; a call that fails
# leaves every table as it was, one that reads leaves it, too, and no call under row
# security touches another tenant.
#
# IOT_JOBS_ARGUMENT_CALLS sets how many calls (default 3000; 1000000 takes about an
# hour), IOT_JOBS_SEED lets other ones be made.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

use IotJobsData;

my $calls = $ENV{IOT_JOBS_ARGUMENT_CALLS} // 3000;
my $seed = $ENV{IOT_JOBS_SEED} // 1;
my $batch = 500;

my $node = data_server('arguments', conf => "iot_jobs.worker_enabled = off\nshared_preload_libraries = 'iot_jobs'\nfsync = off\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION iot_jobs;
	CREATE ROLE app;
	GRANT ALL ON ALL TABLES IN SCHEMA public TO app;
	GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO app;
	CREATE SCHEMA fuzz;
	GRANT USAGE ON SCHEMA fuzz TO app;
	CREATE TABLE fuzz.said (function name, sqlstate text, calls bigint DEFAULT 0, sample text, PRIMARY KEY (function, sqlstate));
	CREATE TABLE fuzz.fault (what text, call text, detail text);

	CREATE FUNCTION fuzz.dice(sides int) RETURNS int VOLATILE LANGUAGE sql AS $$SELECT floor(random() * sides)::int$$;
	CREATE FUNCTION fuzz.of(list text[]) RETURNS text VOLATILE LANGUAGE sql AS $$SELECT list[1 + floor(random() * cardinality(list))::int]$$;

	-- a text as an expression of SQL: half of them mean something here
	CREATE FUNCTION fuzz.text() RETURNS text VOLATILE LANGUAGE plpgsql AS $$
	BEGIN
		CASE fuzz.dice(12)
			WHEN 0 THEN RETURN fuzz.of(array['NULL', '''''', ''' ''', 'chr(10)', '''a'' || chr(9)', 'chr(127)', 'chr(27) || ''[2J''']);
			WHEN 1 THEN RETURN format('repeat(%L, %s)', fuzz.of(array['x', 'ä', '🚀', 'e' || chr(769), '''', '%', chr(92)]), fuzz.of('{1,2,100,101,255,256,8191,65536}'));
			WHEN 2 THEN RETURN CASE WHEN fuzz.dice(20) = 0 THEN 'repeat(''x'', 2000000)' ELSE 'repeat(''ab'', 50)' END;
			WHEN 3 THEN RETURN format('chr(%s)', fuzz.of('{1,9,31,32,126,127,128,133,159,160,8203,8232,8233,8238,64976,65535,65534,65533,131070,1114111,917505}'));
			WHEN 4 THEN RETURN quote_literal(fuzz.of(array['%s%n%d', ''' OR true --', '"; DROP TABLE jobs; --', '$1', '{jobs}', '\x00', 'null', '../..', '::text', 'a' || chr(8203) || 'b']));
			WHEN 5 THEN RETURN format('encode(decode(%L, ''hex'') || %L, ''hex'')', fuzz.of('{4a0000000000000000,4400000000000000006431,450002a5f1c3d4e5f66a31,ff,00,7fffffffffffffffff}'), fuzz.of(array['j1', 'd1', '\377']));
			WHEN 6 THEN RETURN format('(SELECT page_token FROM %s ORDER BY 1 LIMIT 1 OFFSET %s)', fuzz.of('{list_jobs(''a''),"list_job_executions_for_job(''a'', ''j1'')","list_job_executions_for_device(''a'', ''d1'')"}'), fuzz.dice(3));
			WHEN 7 THEN RETURN quote_literal(fuzz.of('{QUEUED,IN_PROGRESS,SUCCEEDED,FAILED,REJECTED,TIMED_OUT,COMPLETED,CANCELED,DELETION_IN_PROGRESS,queued,"SUCCEEDED "}'));
			ELSE RETURN quote_literal(fuzz.of('{a,a,a,b,j1,j2,j3,j4,d1,d2,d3,d9,g,none,* * * * *}'));
		END CASE;
	END $$;
	-- a JSON value as text
	CREATE FUNCTION fuzz.json(depth int) RETURNS text VOLATILE LANGUAGE plpgsql AS $$
	DECLARE
		n int := fuzz.dice(4);
	BEGIN
		IF depth > 0 AND fuzz.dice(3) = 0 THEN
			RETURN '[' || coalesce((SELECT string_agg(fuzz.json(depth - 1), ',') FROM generate_series(1, n)), '') || ']';
		ELSIF depth > 0 AND fuzz.dice(2) = 0 THEN
			RETURN '{' || coalesce((SELECT string_agg(to_json(fuzz.of(array['job_id', 'device_id', 'status', 'status_details', 'expected_execution_number', '', 'ä', chr(10), 'x']) || CASE WHEN i > 2 THEN i::text ELSE '' END)::text || ':' || fuzz.json(depth - 1), ',') FROM generate_series(1, n) i), '') || '}';
		END IF;
		RETURN fuzz.of(array['null', 'true', '0', '-0', '1', '3', '1e131071', '-1e-16383', '9223372036854775807', '9223372036854775808', '1.0', '1.5', '1e2', '"j1"', '"d1"', '"SUCCEEDED"', '"IN_PROGRESS"', '""',
			'"\u0001"', '"\ud83d\ude80"', '"1"', '"-9223372036854775808"', '" 1"', '"0x10"', '"+1"', '"1e1"', '[]', '{}']);
	END $$;
	CREATE FUNCTION fuzz.report() RETURNS text VOLATILE LANGUAGE sql AS $$
		SELECT format('{"job_id": %s, "device_id": %s, "status": %s, "status_details": %s, "expected_execution_number": %s}',
			fuzz.of(array['"j1"', '"j2"', '"none"', '5']), fuzz.of(array['"d1"', '"d2"', '"d3"', '"d9"', 'null']), fuzz.of(array['"SUCCEEDED"', '"IN_PROGRESS"', '"FAILED"', '"QUEUED"', 'true']),
			fuzz.json(2), fuzz.of(array['null', '1', '2', '"1"', '"x"', '1.5', '1e30']))
	$$;
	CREATE FUNCTION fuzz.jsonb() RETURNS text VOLATILE LANGUAGE plpgsql AS $$
	BEGIN
		CASE fuzz.dice(12)
			WHEN 0 THEN RETURN 'NULL::jsonb';
			WHEN 1 THEN RETURN format('(repeat(%L, %s) || repeat(%L, %2$s))::jsonb', fuzz.of('{[}'), fuzz.of('{1,100,3000}'), ']');
			WHEN 2 THEN RETURN format('(''['' || repeat(''1e%s,'', %s) || ''1]'')::jsonb', fuzz.of('{1,1000,100000}'), fuzz.of('{1,10,500}'));
			WHEN 3 THEN RETURN format('jsonb_build_object(%L, repeat(%L, %s))', fuzz.of('{a,"",reason}'), fuzz.of(array['x', '"', 'ä']), fuzz.of('{1,1000,32750,32768,100000}'));
			WHEN 4, 5, 6 THEN RETURN format('%L::jsonb', (SELECT '[' || string_agg(CASE WHEN fuzz.dice(5) = 0 THEN fuzz.json(3) ELSE fuzz.report() END, ',') || ']' FROM generate_series(1, 1 + fuzz.dice(6))));
			WHEN 7 THEN RETURN format('(SELECT jsonb_agg(%L::jsonb) FROM generate_series(1, %s))', fuzz.report(), fuzz.of('{1,100,10000,10001}'));
			ELSE RETURN format('%L::jsonb', fuzz.json(4));
		END CASE;
	END $$;
	CREATE FUNCTION fuzz.value(type regtype) RETURNS text VOLATILE LANGUAGE plpgsql AS $$
	BEGIN
		IF fuzz.dice(25) = 0 THEN RETURN 'NULL::' || type; END IF;
		RETURN CASE type::text
			WHEN 'text' THEN fuzz.text()
			WHEN 'jsonb' THEN fuzz.jsonb()
			WHEN 'boolean' THEN fuzz.of('{true,false,false}')
			WHEN 'integer' THEN fuzz.of('{0,1,2,10,250,251,10000,10001,-1,2147483647,-2147483648}')
			WHEN 'bigint' THEN fuzz.of('{0,1,2,3,100,-1,9223372036854775807,-9223372036854775808}')
			WHEN 'timestamp with time zone' THEN quote_literal(fuzz.of('{infinity,-infinity,4714-11-24 00:00:00+00 BC,294276-12-31 23:59:59.999999+00,epoch,now,tomorrow,2036-01-01,2036-12-31,1999-12-31 24:00:00+00}')) || '::timestamptz'
			WHEN 'interval' THEN quote_literal(fuzz.of('{0,1 second,1 hour,-1 hour,10 years,10 years 1 day,1000 years,178000000 years,-178000000 years,2147483647 days,-2147483648 days,9223372036854 seconds,1 month -30 days,-1 month 31 days,0.000001 seconds}')) || '::interval'
			WHEN 'text[]' THEN fuzz.of(array['''{}''::text[]', '''{d1,d2,d3}''::text[]', '''{d1,NULL}''::text[]', '''{{d1,d2},{d3,d1}}''::text[]', '''[-5:-4]={d1,d2}''::text[]', 'array_fill(''d1''::text, array[5000])',
				'array_fill(NULL::text, array[3, 2])', 'array[' || fuzz.text() || ', ''d2'']', '(SELECT array_agg(''d'' || i) FROM generate_series(1, 20000) i)'])
			WHEN 'regclass' THEN fuzz.of('{0,1,''devices'',''jobs'',''device_group_members'',''pg_class'',''iot_jobs_worker'',4294967295,''jobs_pkey''}') || '::regclass'
			ELSE 'no value for type ' || type
		END;
	END $$;
	-- what the argument of this name might well be
	CREATE FUNCTION fuzz.sane(name text) RETURNS text VOLATILE LANGUAGE sql AS $$
		SELECT CASE name
			WHEN 'tenant_id' THEN '''a''' WHEN 'job_id' THEN quote_literal('j' || 1 + fuzz.dice(4)) WHEN 'device_id' THEN quote_literal('d' || 1 + fuzz.dice(4))
			WHEN 'document_type' THEN '''t''' WHEN 'target_all' THEN 'true' WHEN 'target_device_id' THEN 'NULL' WHEN 'target_group_id' THEN 'NULL'
			WHEN 'status' THEN quote_literal(fuzz.of('{IN_PROGRESS,IN_PROGRESS,SUCCEEDED,FAILED,REJECTED}')) WHEN 'expected_execution_number' THEN 'NULL'
			WHEN 'page_token' THEN 'NULL' WHEN 'page_size' THEN '3' WHEN 'max_executions' THEN '2' WHEN 'max_rows' THEN '100' WHEN 'expires_at' THEN 'NULL' END
	$$;
	CREATE FUNCTION fuzz.arguments(function oid) RETURNS text VOLATILE LANGUAGE sql AS $$
		SELECT string_agg(CASE WHEN proargnames[n] IS NULL THEN '' ELSE quote_ident(proargnames[n]) || ' => ' END || coalesce(CASE WHEN fuzz.dice(10) < 8 THEN fuzz.sane(proargnames[n]) END, fuzz.value(t)), ', ' ORDER BY n)
		FROM pg_proc p, unnest(p.proargtypes::oid[]) WITH ORDINALITY a (t, n)
		-- defaults are left out now and then
		WHERE p.oid = function AND (n <= pronargs - pronargdefaults OR fuzz.dice(2) = 0)
	$$;

	CREATE FUNCTION fuzz.world() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		DELETE FROM tenants;
		INSERT INTO tenants (tenant_id) VALUES ('a'), ('b');
		INSERT INTO devices (tenant_id, device_id) SELECT t, 'd' || i FROM unnest('{a,b}'::text[]) t, generate_series(1, 4) i;
		INSERT INTO device_groups (tenant_id, group_id) VALUES ('a', 'g'), ('b', 'g');
		INSERT INTO device_group_members (tenant_id, group_id, device_id) SELECT t, 'g', 'd' || i FROM unnest('{a,b}'::text[]) t, generate_series(1, 2) i;
		PERFORM create_job(t, 't', target_all => true, job_id => 'j' || i) FROM unnest('{a,b}'::text[]) t, generate_series(1, 4) i;
		PERFORM start_next_pending_job_execution(t, 'd1') FROM unnest('{a,b}'::text[]) t;
		UPDATE iot_jobs_fleet SET devices = 'devices', group_members = 'device_group_members';
	END $$;
	-- all rows of one tenant or of both
	CREATE FUNCTION fuzz.digest(tenant text) RETURNS text LANGUAGE sql AS $$
		SELECT md5(concat_ws('|', (SELECT string_agg(j::text, '' ORDER BY j.tenant_id, j.job_id) FROM jobs j WHERE j.tenant_id LIKE tenant),
			(SELECT string_agg(e::text, '' ORDER BY e.tenant_id, e.job_id, e.device_id) FROM job_executions e WHERE e.tenant_id LIKE tenant),
			(SELECT string_agg(x::text, '' ORDER BY x.tenant_id) FROM tenants x), (SELECT string_agg(d::text, '' ORDER BY d.tenant_id, d.device_id) FROM devices d),
			(SELECT string_agg(m::text, '' ORDER BY m.tenant_id, m.group_id, m.device_id) FROM device_group_members m),
			(SELECT string_agg(f::text, '') FROM iot_jobs_fleet f)))
	$$;
	CREATE FUNCTION fuzz.go(calls int, by_app boolean) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		p record; call text; before text; others text; state text; message text; told text;
	BEGIN
		PERFORM fuzz.world();
		PERFORM set_config('app.tenant_id', 'a', true);
		FOR i IN 1..calls LOOP
			SELECT f.oid, f.proname, f.provolatile INTO p FROM pg_proc f JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = f.oid AND d.deptype = 'e'
			WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'iot_jobs')
			-- these take long, change what the others do, or soon end: seldom
			AND (f.proname !~ '^(verify_jobs$|use_)' OR fuzz.dice(50) = 0)
			AND (f.proname !~ 'schedule|^iot_jobs_' OR fuzz.dice(6) = 0)
			ORDER BY random() LIMIT 1;
			call := format(CASE WHEN p.proname ~ '^iot_jobs_(guard|cascade)' THEN 'SELECT %I(%s)' ELSE 'SELECT * FROM %I(%s)' END, p.proname, fuzz.arguments(p.oid));
			before := fuzz.digest('%');
			others := fuzz.digest('b');
			told := NULL;
			BEGIN
				IF by_app THEN SET LOCAL ROLE app; END IF;
				EXECUTE format('SELECT left(string_agg(r::text, '' ''), 1000) FROM (%s) r', call) INTO told;
				IF by_app THEN SET LOCAL ROLE NONE; END IF;
				state := '00000';
				IF p.provolatile <> 'v' AND fuzz.digest('%') <> before THEN
					INSERT INTO fuzz.fault VALUES ('a reader wrote', call, told);
				END IF;
				IF p.proname = 'update_job_executions' AND told !~ ',t,00000,' AND fuzz.digest('%') <> before THEN
					INSERT INTO fuzz.fault VALUES ('a report that was not accepted left something', call, told);
				END IF;
				-- half of what succeeds stays
				IF p.proname ~ '^use_' OR fuzz.dice(2) = 0 THEN RAISE EXCEPTION 'undone' USING ERRCODE = 'FZ000'; END IF;
			EXCEPTION
				WHEN SQLSTATE 'FZ000' THEN state := '00000';
				WHEN OTHERS THEN
					GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT;
					IF fuzz.digest('%') <> before THEN
						INSERT INTO fuzz.fault VALUES ('an error left something: ' || state, call, message);
					END IF;
			END;
			IF by_app AND fuzz.digest('b') <> others THEN
				INSERT INTO fuzz.fault VALUES ('the other tenant changed', call, state);
			END IF;
			INSERT INTO fuzz.said VALUES (p.proname, state, 1, left(call || ' -- ' || coalesce(message, ''), 2000))
			ON CONFLICT (function, sqlstate) DO UPDATE SET calls = fuzz.said.calls + 1;
		END LOOP;
	END $$;
});

note("seed $seed, $calls calls");
for (my $done = 0; $done < $calls; $done += $batch)
{
	my $n = $done / $batch;

	last
	  unless is($node->psql('postgres', sprintf(
				q{SET client_min_messages = error; SELECT setseed((%d %% 1000000) / 1000000.0); SELECT fuzz.go(%d, %s)},
				$seed + $n * 7919, $batch, $n % 2 ? 'true' : 'false')),
			0, "calls from $done on");
}

# What the functions document, and what the server says of a literal before it calls them.
my @known = qw(00000 22004 22023 23505 IJ001 IJ002 IJ003 IJ004 55000 0A000 42P01 42809 42703 42804 42501 22P02 22003 22007 22008 22021 54000 54001 22P05 2202E 23514 39P01);
is($node->safe_psql('postgres', qq{SELECT function, sqlstate, calls, sample FROM fuzz.said WHERE sqlstate <> ALL ('{@{[join ',', @known]}}') ORDER BY 1, 2 LIMIT 10}),
	'', 'every SQLSTATE is one of those that are documented');
is($node->safe_psql('postgres', 'SELECT what, call, detail FROM fuzz.fault LIMIT 10'), '', 'no half effect');
is($node->safe_psql('postgres', q{SELECT p.proname FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
		WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'iot_jobs')
		AND p.proname !~ '^(verify_jobs$|use_)' AND NOT EXISTS (SELECT FROM fuzz.said s WHERE s.function = p.proname)}),
	'', 'every function was called');
# whoever refuses everything is not tried very hard
is($node->safe_psql('postgres', q{SELECT string_agg(f, ' ') FROM unnest('{create_job,describe_job,list_jobs,start_next_pending_job_execution,update_job_execution,update_job_executions,claim_job_executions,cancel_job_execution,list_job_executions_for_job,run_job_sweep}'::name[]) f
		WHERE NOT EXISTS (SELECT FROM fuzz.said s WHERE s.function = f AND s.sqlstate = '00000')}),
	'', 'and many calls succeeded');
note($_) foreach split /\n/, $node->safe_psql('postgres', q{SELECT concat_ws(' ', sqlstate, sum(calls), CASE WHEN sqlstate NOT IN ('00000', '22023', '22004') THEN min(sample) END) FROM fuzz.said GROUP BY sqlstate ORDER BY 1});
is(complaints_in_log($node), '', 'the server has nothing to complain about');

$node->stop;
done_testing();
