# assert_server.sh
#	A PostgreSQL from the source package of this release of Debian, with what no
#	packaged server has: assertions, an allocator that checks and clears what is given
#	back, and the word to valgrind of what is handed out.
#
# Sourced after harness.sh.

# make_assert_server PREFIX MAJOR: false if there is no source to be had or it does not
# build; standard output tells.  Its unpacked source is in PREFIX.source afterwards.
make_assert_server()
{
	local prefix=$1 major=$2 source=$1.source

	mkdir -p "$source"
	# what is left out is not ours to test, and would need packages of its own
	(
		cd "$source" &&
			fetch_source "$major" &&
			tar -x --strip-components=1 -f "postgresql-${major}"_*.orig.tar.* &&
			./configure --prefix="$prefix" --enable-cassert --enable-debug \
				--without-icu --without-readline --without-zlib CFLAGS=-O1 CPPFLAGS=-DUSE_VALGRIND &&
			make -s -j2 &&
			make -s install
	)
}

# fetch_source MAJOR: the tarball, into the current folder.  The lists of apt know
# binary packages only, so that it is told, in a folder of its own, to ask the same
# places for sources.  The newest is not always there: a mirror of the security archive
# may have none.
fetch_source()
{
	local package=postgresql-$1 version
	local -a apt=(-o "Dir::State=$PWD/apt" -o Dir::State::status=/dev/null -o "Dir::Cache=$PWD/apt"
		-o "Dir::Etc::SourceList=$PWD/sources.list" -o Dir::Etc::SourceParts=/dev/null)

	mkdir -p apt/lists/partial apt/archives/partial
	apt-get indextargets --format 'deb-src $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' |
		sort -u >sources.list
	apt-get "${apt[@]}" update
	for version in $(apt-cache "${apt[@]}" showsrc "$package" | sed -n 's/^Version: //p' | sort -ruV); do
		if apt-get "${apt[@]}" source --download-only --tar-only "$package=$version"; then
			return
		fi
	done
	return 1
}
