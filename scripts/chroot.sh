# chroot.sh
#	Another release of Debian in a folder, for ./check --all-versions: the packages
#	of its PostgreSQL, and commands that run in it.
#
# Each command has a mount and a process namespace of its own.  Its mounts are seen
# by nobody else and end with it, and so does every process it started, however it
# ends: what is left is a folder, which may be removed.
#
# Sourced after harness.sh.

# what sets a command apart; killed with its caller
readonly APART=(unshare --mount --pid --fork --kill-child)

# Why there can be no other release on this machine; nothing if there can.
why_no_chroot()
{
	local log=$SCRATCH/apart.log

	if [ "$(id -u)" -ne 0 ]; then
		say "needs root"
	elif ! command -v apt-get >/dev/null; then
		say "no Debian packages here"
	elif ! "${APART[@]}" mount -t proc proc /proc >"$log" 2>&1; then
		say "no namespaces or mounts: $(tail -n 1 "$log")"
	elif ! package_installed debootstrap && ! apt_install debootstrap >"$log" 2>&1; then
		say "no debootstrap: $(tail -n 1 "$log")"
	elif [ -z "$(debian_mirror)" ] && ! { apt-get update -q >"$log" 2>&1 && [ -n "$(debian_mirror)" ]; }; then
		say "apt knows no mirror of Debian"
	fi
}

# The mirror that this machine's own apt uses.
debian_mirror()
{
	apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(SITE)' 2>/dev/null |
		sed -n 's/^Debian|Debian|//p' | sed -n 1p
}

# The proxy that this machine's own apt uses, for programs that ask the environment.
debian_proxy()
{
	local proxy=

	eval "$(apt-config shell proxy Acquire::http::Proxy)"
	[ -z "$proxy" ] || say "http_proxy=$proxy"
}

# make_chroot ROOT RELEASE: the smallest system there is.  It appears under its name
# once it is complete.
make_chroot()
{
	local root=$1 release=$2 script=/usr/share/debootstrap/scripts/$2

	[ ! -d "$root" ] || return 0
	# a release that is newer than debootstrap is made like the newest it knows
	[ -e "$script" ] || script=/usr/share/debootstrap/scripts/sid
	rm -rf --one-file-system "$root.part"
	mkdir -p "$root.part"
	# shellcheck disable=SC2046
	"${APART[@]}" env $(debian_proxy) debootstrap --variant=minbase "$release" "$root.part" "$(debian_mirror)" "$script" || return 1
	# whoever was given the folder around it meanwhile may have been given this, too
	chown root:root "$root.part"
	# proxies, and what to make of a mirror's dates
	apt-config dump --format '%F "%v";%n' | grep -E '^Acquire::(http|https|Check|Retries|ForceIPv)' \
		>"$root.part/etc/apt/apt.conf.d/90host" || true
	mv "$root.part" "$root"
}

# in_chroot ROOT COMMAND...: as root there, in an environment of its own
in_chroot()
{
	local root=$1

	shift
	cp -L /etc/resolv.conf /etc/hosts "$root/etc/" 2>/dev/null || true
	"${APART[@]}" bash -c '
		mount -t proc proc "$1/proc" && mount -t tmpfs -o mode=1777 tmpfs "$1/dev/shm" || exit
		exec chroot "$@"' in_chroot "$root" \
		env -i HOME=/root LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}
