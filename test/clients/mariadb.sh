#!/usr/bin/env bash
# MariaDB's S3 engine: a table moved to S3, read there, found by a second server.
set -euo pipefail
cd "$WORK"
b=mariadb-$RANDOM$RANDOM
at=${AWS_ENDPOINT_URL#*://}
printf '[default]\naccess_key = %s\nsecret_key = %s\nhost_base = %s\nhost_bucket = %s\nuse_https = False\n' "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" "$at" "$at" >cfg
s3cmd -q -c cfg mb "s3://$b"
cat >my.cnf <<E
[mariadbd]
plugin-maturity=alpha
plugin-load-add=ha_s3
s3=ON
s3-host-name=${at%:*}
s3-port=${at##*:}
s3-use-http=ON
s3-bucket=$b
s3-access-key=$AWS_ACCESS_KEY_ID
s3-secret-key=$AWS_SECRET_ACCESS_KEY
s3-region=$AWS_REGION
s3-slave-ignore-updates=ON
aria_encrypt_tables=OFF
skip-networking
user=root
E
chmod 600 my.cnf
pid=
stop() { [ -z "$pid" ] || { kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; }; pid=; }
trap stop EXIT
serve() {
  local dir=$PWD/$1
  mariadb-install-db --no-defaults --datadir="$dir" --auth-root-authentication-method=normal --skip-test-db >"$1.install" 2>&1
  mariadbd --defaults-file=my.cnf --datadir="$dir" --socket="$dir/s" --pid-file="$dir/pid" >"$1.log" 2>&1 &
  pid=$!
  for _ in $(seq 150); do mariadb --no-defaults -uroot -S "$dir/s" -e 'SELECT 1' >/dev/null 2>&1 && return; sleep 0.2; done
  tail "$1.log" >&2
  return 1
}
sql() { mariadb --no-defaults -uroot -N -S "$PWD/$1/s" -e "$2"; }
serve one
sql one "CREATE DATABASE d; USE d; CREATE TABLE d.t (id INT PRIMARY KEY, body VARCHAR(200)) ENGINE=Aria TRANSACTIONAL=1;
  INSERT INTO d.t SELECT seq, REPEAT(MD5(seq), 5) FROM seq_1_to_20000"
before=$(sql one 'SELECT COUNT(*), SUM(CRC32(body)) FROM d.t')
sql one 'ALTER TABLE d.t ENGINE=S3'
[ "$(sql one 'SELECT COUNT(*), SUM(CRC32(body)) FROM d.t')" = "$before" ]
[ "$(sql one 'SELECT body FROM d.t WHERE id=777')" = "$(sql one 'SELECT REPEAT(MD5(777), 5)')" ]
stop
serve two
sql two 'CREATE DATABASE IF NOT EXISTS d'
[ "$(sql two 'SELECT COUNT(*), SUM(CRC32(body)) FROM d.t')" = "$before" ]
sql two 'DROP TABLE d.t'
stop
[ -z "$(s3cmd -c cfg ls "s3://$b/")" ]
s3cmd -q -c cfg rb "s3://$b"
