#!/usr/bin/env bash
# Alerts, their tests, their runbooks and the bank's metrics belong together. Needs no Prometheus.
#
# Usage: scripts/tests/monitoring_test.sh

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
# shellcheck source=scripts/tests/lib.sh
. "$ROOT/scripts/tests/lib.sh"

case ${1:-} in -h | --help) print_help "$0"; exit ;; esac
cd "$ROOT"

alerts() { sed -n 's/^ *- alert: //p' monitoring/rules.yml; }
pages() { find runbooks -name '*.md' ! -name README.md -exec basename {} .md \;; }
# The bank's own metrics that rules and dashboards ask for, without the suffixes Prometheus adds to a histogram.
metrics() { grep -ohE '\bvostro_[a-z_]+' monitoring/rules.yml monitoring/grafana/provisioning/dashboards/*.json | sed -E 's/_(bucket|count|sum)$//' | sort -u; }
# Commands a page tells the reader to type, as far as the subcommand: "outbox status".
commands() { grep -rhoE '\bvostro [a-z-]+( [a-z]+)?' runbooks | sort -u; }

every_alert_has_its_page_and_its_test() {
  local alert
  for alert in $(alerts); do
    expect "$alert has a page" [ -s "runbooks/$alert.md" ]
    expect "$alert names its page" grep -q "runbook: runbooks/$alert.md" monitoring/rules.yml
    expect "$alert is seen firing in a test" grep -qE "^ +- alertname: $alert\$" monitoring/rules_test.yml
  done
}

every_page_has_its_alert() {
  local page
  for page in $(pages); do
    # What only a comparison finds has a page and no alert.
    [ "$page" = ProjectionDamaged ] || expect "$page is an alert" grep -q "alert: $page\$" monitoring/rules.yml
    expect "$page says what to check, what to do and when to call" \
      [ "$(grep -cE '^## (Check|Do|Escalate)$' "runbooks/$page.md")" = 3 ]
  done
}

every_metric_is_one_the_bank_has() {
  local metric
  for metric in $(metrics); do
    expect "$metric is written by the bank" \
      grep -rqF --include='*.rs' "\"$metric\"" src modules platform rabbitmq schema
  done
}

every_link_leads_somewhere() {
  local page link
  for page in runbooks/*.md; do
    for link in $(grep -oE '\]\([^)#]+\)' "$page" | tr -d '])('); do
      expect "$page: $link exists" [ -e "runbooks/$link" ]
    done
  done
}

every_command_exists() {
  local command area verb file variant
  while read -r command area verb; do
    [ "$command" = vostro ] || continue
    # `area` is a file of the command line, `verb` one of its subcommands (clap writes them in kebab case).
    file=src/cli/${area//-/_}.rs
    expect "vostro $area is a command" [ -e "$file" ]
    grep -q 'Subcommand' "$file" || continue
    variant=$(sed -E 's/(^|-)([a-z])/\U\2/g' <<<"$verb")
    expect "vostro $area $verb is a command" grep -qE "^ +$variant( \{|,|\()" "$file"
  done < <(commands)
}

expect 'there are alerts' [ "$(alerts | wc -l)" -gt 5 ]
every_alert_has_its_page_and_its_test
every_page_has_its_alert
every_metric_is_one_the_bank_has
every_link_leads_somewhere
every_command_exists
[ "$BROKEN" = 0 ]
