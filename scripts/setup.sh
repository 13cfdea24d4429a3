#!/usr/bin/env bash
# Brings a machine to where `npm start` and `npm test` work: system packages, npm packages, bpffs, kernel programs.
# Installs only what is missing, says what and why, and is quiet when nothing is.
#
# Exit status: 0 all there; 1 something failed, or this system is not one that it can set up;
# 2 not root: what needs no root is there, the rest was listed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# What is needed: how to see that it is there | packages on Debian and Ubuntu, the first that exists is taken | what for
NEEDS='
command:clang|clang|builds the kernel programs
command:clang-format|clang-format|checks the format of C files
header:bpf/bpf_helpers.h|libbpf-dev|declares what kernel programs may call
header:asm/types.h|linux-libc-dev|declares the kernel types
library:libbpf.so.1|libbpf1|loads the kernel programs
command:ip|iproute2|makes network namespaces and links for the lab
file:/etc/protocols|netbase|tells network tools the names of protocols
command:ethtool|ethtool|switches checksum offload off on lab links
command:sysctl|procps|sets up routing in the lab
command:ping|iputils-ping|tests echo replies and delays in the lab
command:bird|bird2|announces VIPs to routers, and is the router of the lab
command:unbound|unbound|is the recursive resolver of the lab
command:dig|bind9-dnsutils dnsutils|asks the DNS server in tests
command:kdig|knot-dnsutils|asks the DNS server in tests, in other words than dig
command:knotd|knot|is the secondary name server in tests
command:delv|bind9-dnsutils dnsutils|checks signatures of the DNS server in tests
command:drill|ldnsutils|checks signatures of the DNS server in tests
command:fstrm_capture|fstrm-bin|receives query logs in tests
command:dnstap-ldns|dnstap-ldns|reads query logs in tests
command:curl|curl|is the HTTP client of the lab
command:nginx|nginx-light nginx|is the web server of the lab
command:tcpdump|tcpdump|shows tests what passes an interface
'
# Services that those packages would start: they stay off, the lab starts its own.
SERVICES='bird unbound nginx knot'

say() {
	echo "setup: $*"
}

# present KIND NAME
present() {
	local folder
	case $1 in
	command) command -v "$2" >/dev/null ;;
	file) [ -e "$2" ] ;;
	header)
		for folder in /usr/include /usr/include/*-linux-gnu /usr/local/include; do
			if [ -e "$folder/$2" ]; then return 0; fi
		done
		return 1
		;;
	library)
		for folder in /usr/lib/*-linux-gnu /lib/*-linux-gnu /usr/lib64 /usr/lib /usr/local/lib; do
			if [ -e "$folder/$2" ]; then return 0; fi
		done
		return 1
		;;
	esac
}

# Prints the lines of NEEDS whose thing is not there.
missing_needs() {
	local probe packages reason
	while IFS='|' read -r probe packages reason; do
		if [ -n "$probe" ] && ! present "${probe%%:*}" "${probe#*:}"; then
			echo "$probe|$packages|$reason"
		fi
	done <<<"$NEEDS"
}

# list_needs LINES: one readable line each
list_needs() {
	local probe packages reason
	while IFS='|' read -r probe packages reason; do
		if [ -n "$probe" ]; then
			printf '  %-22s %-16s %s\n' "${probe#*:}" "${packages%% *}" "$reason"
		fi
	done <<<"$1"
}

# step TEXT COMMAND...: runs it with its output in a log, tells about it every 5 s, shows the log when it fails.
# quick_step: the same for what is mostly done at once; says nothing unless it takes over a second.
step() {
	say "$1 ..."
	logged 0 "$@"
}
quick_step() {
	logged 1 "$@"
}
# tell_progress QUIET TEXT LOG: says the last line of the log every 5 s, until its own input ends.
tell_progress() {
	local begin=$SECONDS last
	if [ "$1" -gt 0 ]; then
		pause "$1" || return 0
		say "$2 ..."
	fi
	while pause 5; do
		last=$(tail -n 1 "$3" | cut -c 1-100)
		say "  $((SECONDS - begin)) s${last:+: $last}"
	done
}
# Waits so many seconds; fails if the input ends before. Unlike with sleep, no process is left when the waiting is over early.
pause() {
	local status=0
	read -rt "$1" || status=$?
	[ "$status" -gt 128 ]
}
logged() {
	local quiet=$1 text=$2 log=build/setup.log begin=$SECONDS status=0
	shift 2
	: >"$log"
	exec 8> >(tell_progress "$quiet" "$text" "$log" 9>&-)
	local ticker=$!
	"$@" >"$log" 2>&1 </dev/null 8>&- 9>&- || status=$?
	exec 8>&-
	wait "$ticker" || true
	if [ "$status" -ne 0 ]; then
		say "$text failed (status $status):" >&2
		sed -n -e '1,12p' "$log" >&2
		if [ "$(wc -l <"$log")" -gt 30 ]; then echo '...' >&2; fi
		sed -n -e '13,$p' "$log" | tail -n 18 >&2
		return 1
	fi
	if [ "$((SECONDS - begin))" -ge "$quiet" ]; then say "$text: done in $((SECONDS - begin)) s"; fi
}

apt() {
	DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -q -y \
		-o Acquire::Retries=3 -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 "$@"
}

# The first of several package names that this release has.
known_package() {
	local name
	for name in "$@"; do
		if apt-cache show "$name" >/dev/null 2>&1; then
			echo "$name"
			return
		fi
	done
	echo "$1"
}

# Services that are not installed yet, so that what the packages start can be told from what ran before.
new_services() {
	local name
	for name in $SERVICES; do
		if [ ! -e "/etc/init.d/$name" ] && [ ! -e "/lib/systemd/system/$name.service" ] &&
			[ ! -e "/etc/systemd/system/$name.service" ]; then
			echo "$name"
		fi
	done
}

hold_services() {
	local name
	if [ ! -d /run/systemd/system ]; then return; fi
	for name in "$@"; do systemctl mask --runtime "$name.service" >/dev/null 2>&1 || true; done
}

release_services() {
	local name
	for name in "$@"; do
		if [ -d /run/systemd/system ]; then
			systemctl unmask --runtime "$name.service" >/dev/null 2>&1 || true
			systemctl disable --now "$name.service" >/dev/null 2>&1 || true
		elif [ -x "/etc/init.d/$name" ]; then
			if "/etc/init.d/$name" status >/dev/null 2>&1; then "/etc/init.d/$name" stop >/dev/null 2>&1 || true; fi
			update-rc.d "$name" disable >/dev/null 2>&1 || true
		fi
	done
}

install_packages() {
	local lines=$1 probe choices reason updated=no held
	local packages=()
	if [ -z "$(find /var/lib/apt/lists -maxdepth 1 -name '*Packages*' -mmin -1440 -print -quit 2>/dev/null)" ]; then
		# A source that cannot be reached need not be one that has our packages: the installation tells.
		step 'reads the lists of packages' apt update || true
		updated=yes
	fi
	while IFS='|' read -r probe choices reason; do
		# shellcheck disable=SC2086 # the choices are words
		packages+=("$(known_package $choices)")
	done <<<"$lines"
	held=$(new_services)
	# shellcheck disable=SC2086 # names of services are words
	{
		hold_services $held
		if ! step "installs ${packages[*]}" apt install --no-install-recommends "${packages[@]}"; then
			if [ "$updated" = yes ] || ! step 'reads the lists of packages' apt update ||
				! step "installs ${packages[*]}" apt install --no-install-recommends "${packages[@]}"; then
				release_services $held
				return 1
			fi
		fi
		release_services $held
	}
}

# npm packages are as package-lock.json says, by the last `npm ci` here or by npm's own record of a later `npm install`.
packages_current() {
	cmp -s package-lock.json node_modules/.portico-lock.json ||
		{ [ -e node_modules/.package-lock.json ] && [ node_modules/.package-lock.json -nt package-lock.json ]; }
}

install_npm_packages() {
	if ! command -v npm >/dev/null; then
		say 'npm is missing: install Node 20 or later with npm (https://nodejs.org, or the package "npm").' >&2
		return 1
	fi
	step 'installs the npm packages of package-lock.json (npm ci)' \
		npm ci --include=dev --include=optional --no-audit --no-fund --loglevel=error
	cp package-lock.json node_modules/.portico-lock.json
}

bpffs_mounted() {
	local device mountpoint type rest
	while read -r device mountpoint type rest; do
		if [ "$mountpoint" = /sys/fs/bpf ] && [ "$type" = bpf ]; then return 0; fi
	done </proc/mounts
	return 1
}

stop_on_foreign_system() {
	say "this script sets up Debian and Ubuntu (apt on Linux). On another system, install these yourself and start again:" >&2
	list_needs "$1" >&2
	echo '  Linux 6.1 or later with BPF, and root for everything that touches the network' >&2
	exit 1
}

rootless=''
missing=$(missing_needs)
if [ "$(uname -s)" != Linux ]; then stop_on_foreign_system "$NEEDS"; fi
mkdir -p build
if [ -n "$missing" ] || ! packages_current; then
	# Two set-ups at once would disturb each other; the second finds nothing left to do.
	exec 9>build/setup.lock
	if ! flock -n 9; then
		say 'another set-up is running; waits for it ...'
		flock 9
		missing=$(missing_needs)
	fi
fi
if [ -n "$missing" ]; then
	if ! command -v apt-get >/dev/null; then stop_on_foreign_system "$missing"; fi
	if [ "$(id -u)" -eq 0 ]; then
		say 'missing on this machine (what, package, what for):'
		list_needs "$missing"
		install_packages "$missing"
		missing=$(missing_needs)
		if [ -n "$missing" ]; then
			say 'still missing after the installation:' >&2
			list_needs "$missing" >&2
			exit 1
		fi
	else
		rootless+='packages '
	fi
fi
if ! packages_current; then install_npm_packages; fi
# Mounted before anything is built: the file system is where programs and maps outlive the process.
if ! bpffs_mounted; then
	if [ "$(id -u)" -ne 0 ]; then
		rootless+='bpffs '
	elif mount -t bpf bpf /sys/fs/bpf; then
		say 'mounted bpffs at /sys/fs/bpf, where kernel programs and maps are kept'
	else
		say 'cannot mount bpffs at /sys/fs/bpf: kernel programs need it. In a container, give it CAP_SYS_ADMIN and CAP_BPF.' >&2
		exit 1
	fi
fi
if command -v clang >/dev/null; then
	quick_step 'builds the kernel programs into build/bpf' scripts/build-bpf.sh
fi
if [ "$(id -u)" -ne 0 ]; then
	say 'not root. Root is needed for:'
	case $rootless in *packages*)
		say 'installing these packages (what, package, what for):'
		list_needs "$missing"
		;;
	esac
	case $rootless in *bpffs*) say 'mounting bpffs at /sys/fs/bpf' ;; esac
	say 'the lab and its tour, the kernel programs, their tests and benchmarks, and `portico up`'
	say 'Without root these run: npm run check, ./portico check FILE, ./portico bench tables, replay with --engine model.'
	exit 2
fi
