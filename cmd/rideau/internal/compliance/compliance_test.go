package compliance_test

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"rideau/cmd/rideau/internal/compliance"
	"rideau/config"
)

// good is a configuration in which nothing fails.
const good = `listen:
  addresses: [":53"]
  encrypted: [{addresses: [":853"], protocols: [dot], self_signed: true}]
clients: {allow: [10.0.0.0/8, "fc00::/7"]}
limits: {queries_per_second: 1000, burst: 2000, flood: true}
upstream:
  allowed: [192.0.2.0/24]
  servers:
    - {server: "tls://192.0.2.53", name: dns.example, trust_ad: true}
    - {server: "tls://192.0.2.54", name: dns.example, trust_ad: true}
  cookies: true
  mix_case: true
lists: [{id: chat, names: [chat.example]}]
bans: [{id: no-chat, title: {en: No chat}, lists: [chat], bypass: true}]
exceptions: [{id: press, title: {en: Press}, names: [press.chat.example], ticket: T1, approver: A, expires: 2999-01-01}]
state: {dir: state}
evidence:
  dir: spool
  seal: {key_file: seal.pem}
  sinks:
    - {id: file, kind: file, path: events.json, events: all, seal: true, keep_files: 0, keep_days: 400, spool: 1GiB}
    - {id: one, kind: syslog, address: "tls://192.0.2.1", spool: 1GiB}
    - {id: two, kind: syslog, address: "tls://192.0.2.2", spool: 1GiB}
    - {id: pager, kind: webhook, url: "https://192.0.2.3/", secret_file: secret, spool: 1MiB}
ops: {listen: "127.0.0.1:5380", token_file: token}
`

// compare returns the results by id.
func compare(t *testing.T, profile, text string, f compliance.Facts) (*compliance.Report, map[string]compliance.Result) {
	t.Helper()
	cfg, err := config.Parse("rideau.yaml", []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	r, err := compliance.Compare(profile, cfg, f)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]compliance.Result{}
	for _, i := range r.Items {
		if _, twice := out[i.ID]; twice {
			t.Errorf("%s: %s is there twice", profile, i.ID)
		}
		out[i.ID] = i
	}
	return r, out
}

// failures are, for each item that can fail, what to replace in the good configuration so that it does, and with what.
func failures() map[string]map[string][2]string {
	sinks := regexp.MustCompile(`(?s)  sinks:.*webhook[^\n]*\n`).FindString(good)
	none := [2]string{"evidence:\n  dir: spool\n  seal: {key_file: seal.pem}\n" + sinks, "evidence: {store: {path: \"\"}}\n"}
	wide := [2]string{`"fc00::/7"`, `0.0.0.0/0`}
	plain := [2]string{`{server: "tls://192.0.2.54", name: dns.example, trust_ad: true}`, "192.0.2.54"}
	single := [2]string{"    - {server: \"tls://192.0.2.54\", name: dns.example, trust_ad: true}\n", ""}
	outside := [2]string{`seal: true, `, ""}
	return map[string]map[string][2]string{
		"stig": {
			"BIND-9X-001040": {"  encrypted:", "  tcp: {max_connections: 64, max_connections_per_client: 64}\n  encrypted:"},
			"BIND-9X-001050": {"ops:", "log: {level: error}\nops:"},
			"BIND-9X-001110": {"events: all, ", ""},
			"BIND-9X-001360": {"  allowed: [192.0.2.0/24]\n", ""},
			"BIND-9X-001490": {"mix_case: true", "mix_case: false"},
			"BIND-9X-001650": plain,
			"BIND-9X-001740": wide,
			"BIND-9X-001900": none,
			"BIND-9X-001910": {"tls://192.0.2.2", "tls://127.0.0.1"},
			"BIND-9X-001920": none,
			"BIND-9X-002470": {"cookies: true", "cookies: false"},
		},
		"800-81r3": {
			"protective-dns":         {"lists: [chat], bypass", "lists: [chat], mode: monitor, bypass"},
			"bypass":                 {"bypass: true", "bypass: false"},
			"encrypted-dns-upstream": plain,
			"encrypted-dns-clients":  {"  encrypted: [{addresses: [\":853\"], protocols: [dot], self_signed: true}]\n", ""},
			"dns-logging":            {"events: all, ", ""},
			"log-retention":          none,
			"log-integration":        none,
			"dnssec-validation":      plain,
			"information-leakage":    {"  encrypted:", "  nsid: node-1\n  encrypted:"},
			"restricted-clients":     wide,
			"availability":           single,
		},
		"itsg33": {
			"AC-3":  {", token_file: token", ""},
			"AU-2":  none,
			"AU-3":  {"tls://192.0.2.2\"", "tls://192.0.2.2\", clients: none"},
			"AU-5":  {"tls://192.0.2.2\", spool: 1GiB", "tls://192.0.2.2\", spool: 0"},
			"AU-9":  outside,
			"AU-10": outside,
			"AU-11": none,
			"AU-12": none,
			"CM-3":  {"ticket: T1, ", ""},
			"CM-6":  {"ops:", "protected: {defaults: false}\nops:"},
			"CP-10": {"lists: [{id: chat, names: [chat.example]}]", "lists: [{id: chat, url: \"https://lists.example/\"}]"},
			"IR-6":  {"  sinks:", "  alerts: {off: [spike]}\n  sinks:"},
			"SC-5":  {"queries_per_second: 1000", "queries_per_second: 0"},
			"SC-8":  plain,
			"SC-21": plain,
			"SC-22": single,
			"SI-4":  {"kind: webhook, ", "kind: webhook, events: acts, "},
		},
	}
}

// TestItems: with the good configuration nothing fails; and for each item that can fail, one change makes it fail, with the settings that decide, a line
// and a remedy.
func TestItems(t *testing.T) {
	never := map[string]compliance.Status{"BIND-9X-001060": "pass", "BIND-9X-001070": "pass", "BIND-9X-001380": "not_applicable", "BIND-9X-001890": "manual", "BIND-9X-002010": "not_applicable",
		"BIND-9X-002440": "not_applicable", "BIND-9X-002450": "pass", "BIND-9X-002460": "pass", "role-separation": "pass", "AU-6": "manual", "AU-8": "manual", "SC-7": "manual", "SC-20": "not_applicable"}
	fips := []string{"BIND-9X-002050", "cryptography", "SC-13"}
	for _, profile := range compliance.Profiles() {
		all := failures()[profile]
		r, results := compare(t, profile, good, compliance.Facts{FIPS: true})
		for id, i := range results {
			if i.Status == compliance.Fail || i.Title.French == "" || i.Why.English == "" || i.Why.French == "" || i.Why.English == i.Why.French {
				t.Errorf("%s %s: %+v", profile, id, i)
			}
			change, can := all[id]
			switch {
			case slices.Contains(fips, id):
				_, bad := compare(t, profile, good, compliance.Facts{})
				if i.Status != compliance.Pass || bad[id].Status != compliance.Fail {
					t.Errorf("%s %s: %s, without FIPS %s", profile, id, i.Status, bad[id].Status)
				}
				continue
			case !can:
				if i.Status != never[id] {
					t.Errorf("%s %s: %s, and no change makes it fail", profile, id, i.Status)
				}
				continue
			}
			if i.Status == compliance.NotApplicable && id != "BIND-9X-001490" {
				t.Errorf("%s %s does not apply", profile, id)
			}
			text := strings.Replace(good, change[0], change[1], 1)
			if id == "BIND-9X-001490" {
				text = strings.ReplaceAll(text, "tls://192.0.2.5", "192.0.2.5")
				text = regexp.MustCompile(`\{server: "(192[^"]*)"[^}]*}`).ReplaceAllString(text, "$1")
			}
			if id == "CP-10" {
				text = strings.Replace(text, "state: {dir: state}", "state: {dir: \"\"}", 1)
			}
			if text == good {
				t.Fatalf("%s: nothing was changed", id)
			}
			_, bad := compare(t, profile, text, compliance.Facts{FIPS: true})
			b := bad[id]
			if b.Status != compliance.Fail || b.Remedy == nil || b.Remedy.English == "" || b.Remedy.French == "" || len(b.Settings) == 0 {
				t.Errorf("%s %s: %+v", profile, id, b)
				continue
			}
			line := false
			for _, s := range b.Settings {
				line = line || s.Line > 0 && s.File == "rideau.yaml"
			}
			if !line && id != "BIND-9X-001040" {
				t.Errorf("%s %s: no setting has a line: %+v", profile, id, b.Settings)
			}
		}
		sum := 0
		for _, n := range r.Counts {
			sum += n
		}
		if sum != len(r.Items) || r.Counts[compliance.Fail] != 0 || !strings.Contains(r.Source, "20") {
			t.Errorf("%s: %v of %d items from %s", profile, r.Counts, len(r.Items), r.Source)
		}
		for _, language := range []string{"en", "fr"} {
			var b bytes.Buffer
			r.Write(&b, language)
			if strings.Contains(b.String(), "%!") || strings.Count(b.String(), "\n\n") != len(r.Items)+1 {
				t.Errorf("%s", &b)
			}
		}
	}
}

// TestKnownClients: private ranges pass, ranges of the whole Internet fail, and others are for a person to judge.
func TestKnownClients(t *testing.T) {
	for allow, want := range map[string]compliance.Status{"10.0.0.0/8, 127.0.0.0/8, fe80::/10": "pass", "0.0.0.0/0": "fail", "\"::/0\"": "fail", "10.0.0.0/8, 198.51.100.0/24": "manual",
		"\"2001:db8::/32\"": "manual", "128.0.0.0/1": "fail"} {
		_, r := compare(t, "stig", strings.Replace(good, `10.0.0.0/8, "fc00::/7"`, strings.ReplaceAll(allow, "fe80::/10", `"fe80::/10"`), 1), compliance.Facts{})
		if got := r["BIND-9X-001740"].Status; got != want {
			t.Errorf("%s: %s, want %s", allow, got, want)
		}
	}
}

// TestDocumented: the documentation names each guide, with its source and each of its items.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../../../../docs/guides.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, profile := range compliance.Profiles() {
		r, results := compare(t, profile, good, compliance.Facts{})
		if !strings.Contains(string(text), r.Source) {
			t.Errorf("docs/guides.md lacks %q", r.Source)
		}
		for id, i := range results {
			if row := fmt.Sprintf("| `%s` | %s |", id, i.Title.English); !strings.Contains(string(text), row) {
				t.Errorf("docs/guides.md lacks %s", row)
			}
		}
	}
	if _, err := compliance.Compare("cis", new(config.Config), compliance.Facts{}); err == nil {
		t.Error("an unknown guide")
	}
}
