# harness.sh
#	What ./check and ./demo share: the packages they need, a private copy of the
#	PostgreSQL installation, and throw-away servers on a private socket.
#
# Nothing here touches a server that is already there.  The copy of the
# installation is why: PostgreSQL finds its libraries and its share directory
# relative to its own executable, so the extension is installed into the copy,
# and the one in use by others is only read.
#
# Sourced by bash with set -euo pipefail.

# how long a server may take to start or stop, in seconds; valgrind needs most of it
readonly SERVER_TIMEOUT=180

say()
{
	printf '%s\n' "$*"
}

die()
{
	printf '%s: %s\n' "$(basename "$0")" "$*" >&2
	exit 2
}

# ----------------------------------------------------------------
# Packages
# ----------------------------------------------------------------

as_root()
{
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

# The major version to work with: that of PG_CONFIG if given, else the newest one
# whose server headers are installed, else the distribution's own.
find_major()
{
	local candidate major=

	if [ -n "${PG_CONFIG:-}" ]; then
		"$PG_CONFIG" --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/'
		return
	fi
	for candidate in $(ls /usr/lib/postgresql 2>/dev/null | sort -n); do
		if [ -x "/usr/lib/postgresql/$candidate/bin/postgres" ] &&
			[ -f "/usr/lib/postgresql/$candidate/lib/pgxs/src/makefiles/pgxs.mk" ]; then
			major=$candidate
		fi
	done
	if [ -z "$major" ]; then
		major=$(apt-cache depends postgresql 2>/dev/null |
			sed -n 's/.*Depends: postgresql-\([0-9][0-9]*\)$/\1/p' | sed -n 1p)
	fi
	say "$major"
}

package_installed()
{
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# On Debian the first server package of a major creates a cluster and starts it.
# That cluster is not ours to make, so the setting that asks for it is off for as
# long as the installation lasts.
install_server_package()
(
	major=$1
	conf=/etc/postgresql-common/createcluster.conf

	apt_install postgresql-common
	saved=$(mktemp)
	cp "$conf" "$saved"
	trap 'as_root cp "$saved" "$conf"; rm -f "$saved"' EXIT
	trap 'exit 130' INT TERM
	say 'create_main_cluster = false' | as_root tee -a "$conf" >/dev/null
	apt_install "postgresql-$major" || die "could not install postgresql-$major"
)

apt_install()
{
	local log
	log=$(mktemp)

	if ! as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get install -y --no-install-recommends "$@" >"$log" 2>&1; then
		cat "$log" >&2
		rm -f "$log"
		return 1
	fi
	rm -f "$log"
}

# install_missing PACKAGE...: what is not there yet of the packages named; the word
# MAJOR in a name stands for PostgreSQL's major version, and one with a question mark
# in front may be missing from the release.  Sets PG_CONFIG.
install_missing()
{
	local major package
	local -a missing=() wanted=()

	major=$(find_major)
	if [ -z "$major" ] && command -v apt-get >/dev/null; then
		as_root apt-get update -q >/dev/null
		major=$(find_major)
	fi
	[ -n "$major" ] || die "no PostgreSQL here and no package of it known: set PG_CONFIG"
	[ "$major" -ge 15 ] || die "PostgreSQL $major is too old: iot_jobs needs 15 or later (set PG_CONFIG)"

	# a server that was not packaged comes with what it has
	if command -v dpkg-query >/dev/null &&
		{ [ -z "${PG_CONFIG:-}" ] || [ "$PG_CONFIG" -ef "/usr/lib/postgresql/$major/bin/pg_config" ]; }; then
		for package in "postgresql-$major" "${@//MAJOR/$major}"; do
			package_installed "${package#\?}" || missing+=("$package")
		done
		if [ ${#missing[@]} -gt 0 ]; then
			say "installing: ${missing[*]#\?}"
			[ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null ||
				die "run as root or install sudo, or install these packages yourself: ${missing[*]#\?}"
			as_root apt-get update -q >/dev/null || say "apt-get update failed; trying with the lists there are"
			if ! package_installed "postgresql-$major"; then
				install_server_package "$major"
			fi
			for package in "${missing[@]}"; do
				if [[ $package != \?* ]]; then
					wanted+=("$package")
				elif apt-cache show "${package#\?}" >/dev/null 2>&1; then
					wanted+=("${package#\?}")
				else
					say "there is no package ${package#\?}: what needs it will not run"
				fi
			done
			[ ${#wanted[@]} -eq 0 ] || apt_install "${wanted[@]}" || die "could not install ${wanted[*]}"
		fi
		PG_CONFIG=/usr/lib/postgresql/$major/bin/pg_config
	fi
	export PG_CONFIG=${PG_CONFIG:-$(command -v pg_config)}
}

# ----------------------------------------------------------------
# Scratch folder and unprivileged user
# ----------------------------------------------------------------

# make_scratch TREE: a new folder SCRATCH with a copy of the tree in SCRATCH/tree:
# what git tracks or would track, so that no build product comes along.
# In /tmp, whatever TMPDIR says: postgres has to get into it when root calls, and the
# path of a socket in it has to fit into 107 bytes (sun_path).
make_scratch()
{
	local tree=$1

	SCRATCH=$(mktemp -d /tmp/iot_jobs.XXXXXX)
	chmod 755 "$SCRATCH"
	mkdir "$SCRATCH/tree"
	if git -c safe.directory='*' -C "$tree" rev-parse --is-inside-work-tree >/dev/null 2>&1; then
		git -c safe.directory='*' -C "$tree" ls-files -z --cached --others --exclude-standard |
			(cd "$tree" && while IFS= read -r -d '' file; do
				if [ -e "$file" ]; then printf '%s\0' "$file"; fi
			done) |
			tar -C "$tree" --null --files-from=- -c |
			tar -C "$SCRATCH/tree" -x --no-same-owner
	else
		tar -C "$tree" -c . | tar -C "$SCRATCH/tree" -x --no-same-owner
	fi
	export SCRATCH
}

# run_unprivileged COMMAND...: as the user who called, or, for root, as postgres,
# because no PostgreSQL server runs as root.  HOME is in the scratch folder, so
# that no psqlrc, password file or history of anybody takes part.
run_unprivileged()
{
	local -a clean=(env -u PGHOST -u PGPORT -u PGUSER -u PGDATABASE -u PGDATA -u PGOPTIONS -u PGSERVICE
		-u MAKEFLAGS -u MAKELEVEL HOME="$SCRATCH" LC_ALL=C.UTF-8 PG_CONFIG="$PG_CONFIG" SCRATCH="$SCRATCH")

	if [ "$(id -u)" -eq 0 ]; then
		chown -R postgres "$SCRATCH"
		(cd "$SCRATCH" && runuser -u postgres -- "${clean[@]}" "$@")
	else
		(cd "$SCRATCH" && "${clean[@]}" "$@")
	fi
}

# ----------------------------------------------------------------
# A private copy of the installation
# ----------------------------------------------------------------

# copy_installation ROOT: afterwards PG_CONFIG and PG_BIN are those of the copy.
copy_installation()
{
	local root=$1 what dir

	for what in bindir pkglibdir sharedir; do
		dir=$("$PG_CONFIG" "--$what")
		mkdir -p "$root$(dirname "$dir")"
		[ -e "$root$dir" ] || cp -a "$dir" "$root$dir"
	done
	for what in includedir libdir; do
		dir=$("$PG_CONFIG" "--$what")
		mkdir -p "$root$(dirname "$dir")"
		[ -e "$root$dir" ] || ln -s "$dir" "$root$dir"
	done
	PG_BIN=$root$("$PG_CONFIG" --bindir)
	PG_CONFIG=$PG_BIN/pg_config
	export PG_BIN PG_CONFIG
	PATH=$PG_BIN:$PATH
}

# ----------------------------------------------------------------
# Throw-away servers
# ----------------------------------------------------------------

# start_server NAME [SETTING=VALUE...]: a new cluster with a superuser postgres and
# no TCP, in SCRATCH/NAME.  Sets PGHOST, PGPORT and PGUSER for all clients, and
# SERVER_LOG.  SERVER_PREFIX, if set, is an array of words before the server's
# command (valgrind).
start_server()
{
	local data=$SCRATCH/$1/data socket=$SCRATCH/$1 setting
	local -a options=()

	shift
	mkdir -p "$socket"
	SERVER_LOG=$socket/server.log
	"$PG_BIN/initdb" -D "$data" -U postgres -A trust -E UTF8 --no-locale -N >"$socket/initdb.log" 2>&1 ||
		{ cat "$socket/initdb.log" >&2; return 1; }
	cat "$SCRATCH/tree/test/iot_jobs.conf" >>"$data/postgresql.conf"
	for setting in "$@"; do
		say "${setting%%=*} = '${setting#*=}'" >>"$data/postgresql.conf"
	done
	say "unix_socket_directories = '$socket'" >>"$data/postgresql.conf"

	export PGHOST=$socket PGPORT=5432 PGUSER=postgres
	"${SERVER_PREFIX[@]}" "$PG_BIN/postgres" -D "$data" >"$SERVER_LOG" 2>&1 &
	wait_for_server $! || { tail -n 20 "$SERVER_LOG" >&2; return 1; }
}

SERVER_PREFIX=()

wait_for_server()
{
	local pid=$1 deadline=$((SECONDS + SERVER_TIMEOUT))

	until "$PG_BIN/pg_isready" -q -t 5; do
		kill -0 "$pid" 2>/dev/null || return 1
		[ $SECONDS -lt $deadline ] || return 1
		sleep 0.1
	done
}

# every server in the scratch folder, those that an interrupted test left included
stop_servers()
{
	local pidfile data

	# files go while it looks, and not every folder of a chroot is for everybody
	{ find "$SCRATCH" -name postmaster.pid 2>/dev/null || true; } | while read -r pidfile; do
		data=$(dirname "$pidfile")
		"$PG_BIN/pg_ctl" -D "$data" -m fast -w -t $SERVER_TIMEOUT stop >/dev/null 2>&1 ||
			"$PG_BIN/pg_ctl" -D "$data" -m immediate stop >/dev/null 2>&1 || true
	done
}
