#!/usr/bin/env bash
# Installs what tests need besides Python and npm, where it is missing: Debian's packages, as root.
set -euo pipefail
vector() { ls /usr/share/postgresql/*/extension/vector.control >/dev/null 2>&1; }
command -v chromium >/dev/null && command -v nginx >/dev/null && command -v openssl >/dev/null && vector && exit
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "Tests need Chromium, nginx, openssl and PostgreSQL with pgvector. On Debian, as root, this command installs them." >&2
  exit 1
fi
apt-get update -qq
packages=(chromium fonts-dejavu-core nginx openssl)
if ! vector; then
  package=$(apt-cache --names-only search '^postgresql-[0-9]+-pgvector$' | sort -V | tail -1 | cut -d' ' -f1)
  [ -z "$package" ] || packages+=("$package" "${package%-pgvector}")
fi
apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
