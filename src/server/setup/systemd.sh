#!/bin/sh
# Sends the docker and containerd of this machine through docxy: images keep their names.
#
# It makes a drop-in (http-proxy.conf) for each of the two services that is here, with --user also a file for the password
# (http-proxy.env), installs the certificate of docxy's authority, and restarts the services if anything changed. Run again it changes nothing; --undo takes back what it made.
# It touches no firewall, no image and no other file. It needs root, systemd, and curl or wget.
set -eu

#@values@

made=/var/lib/docxy-setup/made
services='docker containerd'
dry_run=no
undo=no
restart=yes
no_proxy_too=''
user=''
password_file=''
changed=no
gone=no

usage() {
  cat <<'END'
Usage: sh setup.sh [OPTIONS]        (as root)

  --dry-run             say what would be done, and do nothing
  --undo                remove all that this script made, and nothing else
  --no-restart          restart nothing; the services go through docxy from their next start on
  --no-proxy LIST       more hosts to be reached directly, as in registry.lan,10.0.0.0/8
  --user NAME           sign in to the proxy, where docxy asks for that; the password is
                        $DOCXY_PASSWORD, or the first line of the file of
  --password-file FILE
  --help
END
}

say() {
  printf '%s\n' "$*"
}

fail() {
  printf 'docxy setup: %s\n' "$*" >&2
  exit 1
}

main() {
  options "$@"
  if [ "$dry_run" = no ] && [ "$(id -u)" -ne 0 ]; then
    fail 'this changes the services of the machine, so it must be run as root (sudo sh setup.sh); --dry-run needs no root'
  fi
  command -v systemctl >/dev/null 2>&1 || fail 'there is no systemctl: this is for machines with systemd'
  find_trust
  if [ "$undo" = yes ]; then
    take_back
  else
    set_up
  fi
}

options() {
  while [ $# -gt 0 ]; do
    case $1 in
      --dry-run) dry_run=yes ;;
      --undo) undo=yes ;;
      --no-restart) restart=no ;;
      --no-proxy | --user | --password-file)
        [ $# -ge 2 ] || fail "$1 wants a value (see --help)"
        case $1 in
          --no-proxy) no_proxy_too=$2 ;;
          --user) user=$2 ;;
          --password-file) password_file=$2 ;;
        esac
        shift
        ;;
      --help | -h)
        usage
        exit 0
        ;;
      *) fail "$1 is not known (see --help)" ;;
    esac
    shift
  done
  case $no_proxy_too in
    *[!A-Za-z0-9.:,/_*-]*) fail '--no-proxy: write host names, addresses and networks with commas between them' ;;
  esac
}

# Where this family of systems keeps certificates to be trusted, and what makes them count.
find_trust() {
  if command -v update-ca-trust >/dev/null 2>&1; then
    refresh=update-ca-trust
    anchors=/etc/pki/ca-trust/source/anchors
    [ -d "$anchors" ] || [ ! -d /etc/ca-certificates/trust-source ] || anchors=/etc/ca-certificates/trust-source/anchors
  elif command -v update-ca-certificates >/dev/null 2>&1; then
    refresh=update-ca-certificates
    anchors=/usr/local/share/ca-certificates
    [ ! -d /etc/pki/trust/anchors ] || anchors=/etc/pki/trust/anchors
  else
    fail 'there is neither update-ca-certificates nor update-ca-trust: install the package ca-certificates first'
  fi
}

set_up() {
  here=''
  for service in $services; do
    if systemctl cat "$service.service" >/dev/null 2>&1; then here="$here $service"; fi
  done
  [ -n "$here" ] || fail "there is no docker.service and no containerd.service here; for other clients: docxy client-config"

  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  trap 'exit 1' HUP INT TERM
  # Either way they have nothing to do with the road to docxy itself.
  unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY

  proxy="http://$(credentials)$proxy_host:$proxy_port"
  certificates
  for service in $here; do
    folder=/etc/systemd/system/$service.service.d
    if [ -n "$user" ]; then
      variables >"$work/http-proxy.env"
      plan "$work/http-proxy.env" "$folder/http-proxy.env"
    fi
    drop_in "$folder" >"$work/$service.conf"
    plan "$work/$service.conf" "$folder/http-proxy.conf"
  done
  number=1
  while [ -f "$work/$number.crt" ]; do
    plan "$work/$number.crt" "$anchors/docxy-proxy-$number.crt"
    number=$((number + 1))
  done
  while IFS=' ' read -r source target; do free "$source" "$target"; done <"$work/plan"
  reachable

  while IFS=' ' read -r source target; do put "$source" "$target"; done <"$work/plan"
  drop_stale
  if [ "$changed" = no ]; then
    say 'nothing to change: this machine goes through docxy already'
    return
  fi
  trust_again
  services_again "$here"
  say "done: pulls of this machine go through docxy at $proxy_host:$proxy_port"
}

# What one of the services is told. systemd shows a service's Environment= to everybody: a password stands in a file.
drop_in() {
  say "# Made by docxy's set-up script from $public_url; its --undo removes this."
  say '[Service]'
  if [ -n "$user" ]; then
    say "EnvironmentFile=$1/http-proxy.env"
  else
    variables | sed 's/.*/Environment="&"/'
  fi
  bare=${proxy_host#[}
  bare=${bare%]}
  say "Environment=\"NO_PROXY=localhost,127.0.0.0/8,::1,$bare${no_proxy_too:+,$no_proxy_too}\""
}

# Both services are Go programs, which look for these names first.
variables() {
  for name in HTTP_PROXY HTTPS_PROXY; do
    say "$name=$proxy"
  done
}

# Every byte is encoded, so that none can mean anything.
credentials() {
  if [ -z "$user" ]; then
    [ "$signs_in" = no ] || fail 'this docxy wants its users to sign in to the proxy: say --user NAME (see --help)'
    return
  fi
  password=''
  if [ -n "$password_file" ]; then
    IFS= read -r password <"$password_file" || [ -n "$password" ] || fail "$password_file is empty"
  else
    password=${DOCXY_PASSWORD:-}
  fi
  [ -n "$password" ] || fail '--user wants a password: set DOCXY_PASSWORD, or say --password-file FILE'
  printf '%s:%s@' "$(encoded "$user")" "$(encoded "$password")"
}

encoded() {
  printf '%s' "$1" | od -An -v -tx1 | tr -d ' \n' | sed 's/../%&/g'
}

# Fetches the certificates into $work/1.crt and so on, and looks at them before anything is changed. The connection may be
# to a host that this machine does not trust yet: what counts is the fingerprint.
certificates() {
  fetch "$public_url/ca.crt" "$work/ca.pem" || fail "$public_url/ca.crt can't be fetched"
  awk -v folder="$work" '
    /^-----BEGIN CERTIFICATE-----/ { number++; inside = 1 }
    inside { print > (folder "/" number ".crt") }
    /^-----END CERTIFICATE-----/ { inside = 0 }
  ' "$work/ca.pem"
  number=1
  for expected in $fingerprints; do
    found=none
    if [ -f "$work/$number.crt" ]; then found=$(fingerprint "$work/$number.crt"); fi
    [ "$found" = "$expected" ] ||
      fail "the certificate at $public_url/ca.crt is not the one this script is for (SHA-256 $expected). Nothing was changed.
Either docxy's authority has changed since: fetch this script again. Or somebody sits between this machine and docxy."
    number=$((number + 1))
  done
  [ ! -f "$work/$number.crt" ] || fail "$public_url/ca.crt has a certificate that this script does not know: fetch it again"
}

fetch() {
  if command -v curl >/dev/null 2>&1; then
    curl --silent --show-error --fail --insecure --max-time 30 --output "$2" "$1"
  elif command -v wget >/dev/null 2>&1; then
    wget -q -T 30 --no-check-certificate -O "$2" "$1"
  else
    fail 'there is neither curl nor wget: install one'
  fi
}

# As openssl x509 -fingerprint -sha256 and docxy ca show write it.
fingerprint() {
  sed '/^-----/d' "$1" | base64 -d 2>/dev/null | sha256sum | cut -c1-64 | tr a-f A-F | sed 's/../&:/g; s/:$//'
}

# A machine whose proxy does not answer can pull nothing at all.
reachable() {
  fetch "http://$proxy_host:$proxy_port/ca.crt" /dev/null ||
    fail "the proxy does not answer at http://$proxy_host:$proxy_port (listen of [intercept] in docxy.toml). Nothing was changed."
}

plan() {
  printf '%s %s\n' "$1" "$2" >>"$work/plan"
}

is_ours() {
  [ -f "$made" ] && grep -qxF "f $1" "$made"
}

free() {
  if is_ours "$2" || { [ ! -e "$2" ] && [ ! -L "$2" ]; }; then return; fi
  refusal="$2 is there already, and not from this script. Nothing was changed: move it away"
  case "$user $2" in
    ' '*.conf) refusal="$refusal, or add these lines to it by hand:
$(cat "$1")" ;;
  esac
  fail "$refusal"
}

put() {
  if [ -f "$2" ] && [ "$(cat "$1")" = "$(cat "$2")" ]; then return; fi
  changed=yes
  if [ "$dry_run" = yes ]; then
    say "would write $2:"
    case $2 in
      *.env) say '    (the address of the proxy, with the password; for root alone)' ;;
      *) sed 's/^/    /' "$1" ;;
    esac
    return
  fi
  say "writing $2"
  make_folder "$(dirname "$2")"
  remember "f $2"
  (
    umask 077
    cat "$1" >"$2.docxy-new"
  )
  # A password is for root alone.
  case $2 in
    *.env) ;;
    *) chmod 644 "$2.docxy-new" ;;
  esac
  mv -f "$2.docxy-new" "$2"
}

make_folder() {
  if [ -d "$1" ]; then return; fi
  make_folder "$(dirname "$1")"
  remember "d $1"
  mkdir "$1"
  chmod 755 "$1"
}

# Written before the thing is made: whatever happens, it can be taken back.
remember() {
  mkdir -p "$(dirname "$made")"
  if ! grep -qxF "$1" "$made" 2>/dev/null; then printf '%s\n' "$1" >>"$made"; fi
}

# What an earlier run made and this one does not want: the certificate of an authority that is gone.
drop_stale() {
  [ -f "$made" ] || return 0
  cut -d' ' -f2- "$work/plan" >"$work/wanted"
  while IFS=' ' read -r kind path; do
    if [ "$kind" = f ] && ! grep -qxF "$path" "$work/wanted"; then
      changed=yes
      if [ "$dry_run" = yes ]; then
        say "would remove $path"
      else
        say "removing $path"
        rm -f "$path"
        gone=yes
      fi
    else
      printf '%s %s\n' "$kind" "$path" >>"$work/made"
    fi
  done <"$made"
  if [ "$dry_run" = no ]; then cat "$work/made" >"$made"; fi
}

trust_again() {
  if [ "$dry_run" = yes ]; then
    say "would run $refresh"
  elif [ "$gone" = yes ] && [ "$anchors" = /usr/local/share/ca-certificates ]; then
    # Debian's leaves links to what is gone, unless it makes its own anew.
    "$refresh" --fresh >/dev/null
  else
    "$refresh" >/dev/null
  fi
}

services_again() {
  if [ "$dry_run" = yes ]; then
    say 'would run systemctl daemon-reload'
  else
    systemctl daemon-reload
  fi
  for service in $1; do
    systemctl is-active --quiet "$service.service" || continue
    if [ "$restart" = no ]; then
      say "left to you: systemctl restart $service"
    elif [ "$dry_run" = yes ]; then
      say "would restart $service"
    else
      say "restarting $service"
      systemctl restart "$service.service"
    fi
  done
}

take_back() {
  if [ ! -f "$made" ]; then
    say "nothing to undo: this script made nothing here ($made)"
    return
  fi
  there=''
  for service in $services; do
    if systemctl cat "$service.service" >/dev/null 2>&1; then there="$there $service"; fi
  done
  while IFS=' ' read -r kind path; do
    [ "$kind" = f ] || continue
    if [ "$dry_run" = yes ]; then
      say "would remove $path"
    else
      say "removing $path"
      rm -f "$path"
    fi
  done <"$made"
  gone=yes
  trust_again
  if [ "$dry_run" = no ]; then
    # The last first; what holds something of others stays.
    sed -n '1!G;h;$p' "$made" | while IFS=' ' read -r kind path; do
      if [ "$kind" = d ]; then rmdir "$path" 2>/dev/null || :; fi
    done
    rm -f "$made"
    rmdir "$(dirname "$made")"
  fi
  services_again "$there"
}

main "$@"
