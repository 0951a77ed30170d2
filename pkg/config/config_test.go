package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/claviger/claviger/pkg/config"
	settingsv1 "github.com/claviger/claviger/proto/gen/claviger/settings/v1"
)

const canary = "hunter2-canary"

// router returns settings that lack nothing.
func router() *settingsv1.Router {
	return &settingsv1.Router{
		Environment: "test", Name: "router-1", DataDir: "/data", HttpListen: ":8080", GrpcListen: ":8081", OpsListen: ":8082",
		Tls:         &settingsv1.Tls{CertFile: "c.pem", KeyFile: "k.pem", CaFile: "ca.pem"},
		KeysAddress: "keys:7443", ConfigPublicKeyFile: "config.pem",
		Vault: &settingsv1.Vault{Address: "https://vault:8200"},
		Nats:  &settingsv1.Nats{Url: "nats://nats:4222"},
	}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// problems returns the mistakes of a load that has to fail.
func problems(t *testing.T, msg proto.Message, src config.Source) []config.Problem {
	t.Helper()
	err := config.Load(msg, src)
	var mistakes *config.Error
	if !errors.As(err, &mistakes) {
		t.Fatalf("Load = %v, want mistakes", err)
	}
	if strings.Contains(err.Error(), canary) {
		t.Errorf("the error shows a secret: %v", err)
	}
	return mistakes.Problems
}

func TestCommandLineWinsOverEnvironmentOverFileOverDefaults(t *testing.T) {
	t.Parallel()
	file := write(t, "router.yaml", `
name: from-file
data_dir: /from-file
http_listen: from-file
first_byte_timeout: 1m30s
journal_max_bytes: 8Gi
max_streams: 0
vault:
  address: https://from-file
egress: {allow: ["10.0.0.1:443", "10.0.0.2:443"]}
`)
	got := router()
	got.MaxStreams = 10_000
	got.Egress = &settingsv1.Egress{Allow: []string{"192.0.2.1:443"}}
	err := config.Load(got, config.Source{
		File:    file,
		Environ: []string{"PATH=/bin", "CLAVIGER_DATA_DIR=/from-env", "CLAVIGER_HTTP_LISTEN=from-env", "CLAVIGER_TLS_CERT_FILE=env.pem", "CLAVIGER_OPS_LISTEN="},
		Args:    []string{"--http_listen=from-flag", "--vault.token", "flag-token", "-max-body-bytes=20Mi", "--provider_base_urls=openai=http://a?x=1,groq=http://b"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := router()
	want.Name, want.DataDir, want.HttpListen = "from-file", "/from-env", "from-flag"
	want.FirstByteTimeout = durationpb.New(90 * time.Second)
	want.JournalMaxBytes, want.MaxBodyBytes = 8<<30, 20<<20
	want.Vault.Address, want.Vault.Token = "https://from-file", "flag-token"
	want.Tls.CertFile = "env.pem"
	want.Egress = &settingsv1.Egress{Allow: []string{"10.0.0.1:443", "10.0.0.2:443"}}
	want.ProviderBaseUrls = map[string]string{"openai": "http://a?x=1", "groq": "http://b"}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Fatalf("settings differ (-want +got):\n%s", diff)
	}
}

func TestEveryMistakeIsReportedAtOnceAndWhereItWasMade(t *testing.T) {
	t.Parallel()
	file := write(t, "router.yaml", `environment: test
name: Not A Name
vault:
  adress: https://vault
  role_id: [a]
max_streams: many
nats: {url: "nats://x", replicas: 9}
tls: cert.pem
egress:
  alow: []
whatever: 1
`)
	got := problems(t, &settingsv1.Router{}, config.Source{
		Args: []string{
			"--config=" + file, "--data-dri=/x", "--first_byte_timeout=soon", "--journal_max_bytes", "--provider_base_urls=openai",
			"positional",
		},
		Environ: []string{"CLAVIGER_HTTP_LISTN=:80", "CLAVIGER_MAX_BODY_BYTES=-1", "CLAVIGER_VAULT_TOKEN_FILE=/does/not/exist", "CLAVIGER_OPS_LISTEN_FILE=/x", "HOME=/"},
	})
	var lines []string
	for _, p := range got {
		lines = append(lines, p.String())
	}
	all := strings.Join(lines, "\n")
	for _, want := range []string{
		"command line: --data-dri: unknown flag; did you mean --data_dir?",
		"command line: --journal_max_bytes: needs a value: a whole number; write --journal_max_bytes=value",
		"command line: positional: unexpected argument",
		"router.yaml:4: vault.adress: unknown key; did you mean vault.address?",
		"router.yaml:5: vault.role_id: is not a text: expected scalar, got sequence",
		"router.yaml:6: max_streams: is not a whole number: invalid integer: ",
		"router.yaml:8: tls: must have keys and values",
		"router.yaml:10: egress.alow: unknown key; did you mean egress.allow?",
		"router.yaml:11: whatever: unknown key",
		"environment: CLAVIGER_HTTP_LISTN: unknown variable; did you mean CLAVIGER_HTTP_LISTEN?",
		"environment: CLAVIGER_OPS_LISTEN_FILE: unknown variable; only secrets come from files, this one is CLAVIGER_OPS_LISTEN",
		"environment: CLAVIGER_VAULT_TOKEN_FILE: /does/not/exist: no such file or directory",
		"environment: CLAVIGER_MAX_BODY_BYTES: must be greater than or equal to 0",
		"command line: --first_byte_timeout: is not a duration such as \"30s\": ",
		"command line: --provider_base_urls: is not a list like name=value,name=value",
		"router.yaml:2: name: does not match regex pattern",
		"router.yaml:7: nats.replicas: must be",
		"not set: data_dir: is needed; set CLAVIGER_DATA_DIR or --data_dir",
		"not set: vault.address: is needed",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no problem %q", want)
		}
	}
	for _, unwanted := range []string{"not set: tls", "not set: environment", "not set: max_streams"} {
		if strings.Contains(all, unwanted) {
			t.Errorf("a problem %q, though the key was only written wrongly", unwanted)
		}
	}
	if t.Failed() {
		t.Logf("problems:\n%s", all)
	}
}

func TestMissingGroupSaysHowToSetIt(t *testing.T) {
	t.Parallel()
	msg := router()
	msg.Tls = nil
	got := problems(t, msg, config.Source{})
	if len(got) != 1 || got[0].Where != "not set" || got[0].Key != "tls" || !strings.Contains(got[0].What, "CLAVIGER_TLS_CERT_FILE or --tls.cert_file") {
		t.Fatalf("problems = %v", got)
	}
}

func TestSecretsComeFromFilesWithoutTheirLastNewline(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]string{
		"s3cret": "s3cret", "s3cret\n": "s3cret", "s3cret\r\n": "s3cret", " s3cret \n": " s3cret ", "two\nlines\n\n": "two\nlines\n",
	} {
		msg := router()
		err := config.Load(msg, config.Source{Environ: []string{"CLAVIGER_VAULT_SECRET_ID_FILE=" + write(t, "secret", content)}})
		if err != nil {
			t.Fatal(err)
		}
		if got := msg.GetVault().GetSecretId(); got != want {
			t.Errorf("secret from a file with %q = %q, want %q", content, got, want)
		}
	}
}

func TestSecretGivenTwiceIsAMistake(t *testing.T) {
	t.Parallel()
	got := problems(t, router(), config.Source{Environ: []string{
		"CLAVIGER_VAULT_TOKEN_FILE=" + write(t, "token", canary), "CLAVIGER_VAULT_TOKEN=" + canary,
	}})
	if len(got) != 1 || got[0].Key != "CLAVIGER_VAULT_TOKEN_FILE" || !strings.Contains(got[0].What, "CLAVIGER_VAULT_TOKEN is set too") {
		t.Fatalf("problems = %v", got)
	}
}

func TestKeyThatEndsWithFileIsItself(t *testing.T) {
	t.Parallel()
	msg := router()
	if err := config.Load(msg, config.Source{Environ: []string{"CLAVIGER_TLS_CERT_FILE=x.pem", "CLAVIGER_CONFIG_PUBLIC_KEY_FILE=y.pem"}}); err != nil {
		t.Fatal(err)
	}
	if msg.GetTls().GetCertFile() != "x.pem" || msg.GetConfigPublicKeyFile() != "y.pem" {
		t.Fatalf("files = %q, %q, want the names as given", msg.GetTls().GetCertFile(), msg.GetConfigPublicKeyFile())
	}
}

func TestNoErrorShowsASecret(t *testing.T) {
	t.Parallel()
	for name, src := range map[string]config.Source{
		"file, wrong kind":           {File: write(t, "a.yaml", "vault:\n  secret_id: ["+canary+"]\n")},
		"file, wrong structure":      {File: write(t, "b.yaml", "vault:\n  secret_id: {"+canary+": 1}\n")},
		"file, looks like an anchor": {File: write(t, "c.yaml", "vault:\n  secret_id: *"+canary+"\n")},
		"file, looks like a tag":     {File: write(t, "d.yaml", "vault:\n  secret_id: \""+canary+"\n")},
		"file, line that breaks":     {File: write(t, "e.yaml", "vault:\n  secret_id: a: '"+canary+"'\n")},
		"environment, rule":          {Environ: []string{"CLAVIGER_DATABASE_URL=mysql://u:" + canary + "@h/d"}},
		"command line, rule":         {Args: []string{"--database.url=mysql://u:" + canary + "@h/d"}},
		"command line, no key":       {Args: []string{"=" + canary, "x=" + canary}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var msg proto.Message = router()
			if strings.Contains(name, "rule") {
				msg = &settingsv1.Keys{}
			}
			problems(t, msg, src)
		})
	}
}

func TestUnreadableFileIsOneMistakeAndNotAHundred(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{
		"missing": filepath.Join(t.TempDir(), "none.yaml"), "folder": t.TempDir(),
		"broken": write(t, "x.yaml", "a: b: c"), "two documents": write(t, "y.yaml", "name: a\n---\nname: b\n"),
	} {
		if got := problems(t, &settingsv1.Router{}, config.Source{Args: []string{"--config", path}}); len(got) != 1 {
			t.Errorf("problems of a file that is %s = %v, want one", name, got)
		}
	}
}

func TestFileIsOptionalUnlessItIsNamed(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "none.yaml")
	if err := config.Load(router(), config.Source{File: missing}); err != nil {
		t.Errorf("Load without the default file = %v", err)
	}
	problems(t, router(), config.Source{Environ: []string{"CLAVIGER_CONFIG=" + missing}})
	msg := router()
	err := config.Load(msg, config.Source{File: missing, Environ: []string{"CLAVIGER_CONFIG=" + write(t, "env.yaml", "name: from-env-file")}})
	if err != nil || msg.GetName() != "from-env-file" {
		t.Errorf("Load = %v, name %q, want the file that CLAVIGER_CONFIG names", err, msg.GetName())
	}
	for _, text := range []string{"", "# nothing\n", "---\n", "vault:\n", "null\n"} {
		if err := config.Load(router(), config.Source{File: write(t, "empty.yaml", text)}); err != nil {
			t.Errorf("Load of the file %q = %v", text, err)
		}
	}
}

func TestFileRefusesWhatWouldBeReadTwoWays(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"name: a\nname: b":                  ":2: name: stands here a second time",
		"data_dir: a\ndataDir: b":           ":2: data_dir: stands here a second time",
		"provider_base_urls: {a: x, a: y}":  `:1: provider_base_urls: has "a" twice`,
		"data_dir: &x /a\nhttp_listen: *x":  ":2: http_listen: aliases are not supported",
		"<<: {name: a}":                     ":1: <<: unknown key",
		"[name]: a":                         ":1: a key must be a word",
		"- name":                            "must have keys and values",
		"egress:\n  allow:\n  - a\n  - [b]": ":2: egress.allow: is not a list",
		"provider_base_urls: [a]":           ":1: provider_base_urls: is not a list like",
		"first_byte_timeout: 30":            `:1: first_byte_timeout: is not a duration such as "30s": invalid duration: missing unit`,
	} {
		got := problems(t, router(), config.Source{File: write(t, "f.yaml", text)})
		if len(got) != 1 || !strings.Contains(got[0].String(), want) {
			t.Errorf("problems of %q = %v, want %q", text, got, want)
		}
	}
}

func TestCheckAndHelpAreForMainToAnswer(t *testing.T) {
	t.Parallel()
	if err := config.Load(router(), config.Source{Args: []string{"-check"}}); !errors.Is(err, config.ErrCheck) {
		t.Errorf("Load(--check) = %v, want ErrCheck", err)
	}
	problems(t, &settingsv1.Router{}, config.Source{Args: []string{"--check"}})
	for _, flag := range []string{"--help", "-h", "-help"} {
		if err := config.Load(&settingsv1.Router{}, config.Source{Args: []string{flag, "--nonsense"}}); !errors.Is(err, config.ErrHelp) {
			t.Errorf("Load(%s) = %v, want ErrHelp", flag, err)
		}
	}
}

func TestRepeatedFlagsAddToAListAndReplaceAValue(t *testing.T) {
	t.Parallel()
	msg := router()
	err := config.Load(msg, config.Source{Args: []string{
		"--egress-allow", "10.0.0.1:443, 10.0.0.2:443", "--egress.allow=10.0.0.3:443", "--name=a", "--name=b",
		"--provider-base-urls=a=http://a", "--provider_base_urls=b=http://b",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"10.0.0.1:443", "10.0.0.2:443", "10.0.0.3:443"}, msg.GetEgress().GetAllow()); diff != "" {
		t.Errorf("egress.allow: %s", diff)
	}
	if msg.GetName() != "b" || len(msg.GetProviderBaseUrls()) != 2 {
		t.Errorf("name = %q, base urls = %v", msg.GetName(), msg.GetProviderBaseUrls())
	}
}

func TestKubernetesServiceVariablesAreNotMistakes(t *testing.T) {
	t.Parallel()
	err := config.Load(router(), config.Source{Environ: []string{
		"CLAVIGER_KEYS_SERVICE_HOST=10.0.0.1", "CLAVIGER_KEYS_SERVICE_PORT=8443", "CLAVIGER_KEYS_SERVICE_PORT_GRPC=8443",
		"CLAVIGER_KEYS_PORT=tcp://10.0.0.1:8443", "CLAVIGER_KEYS_PORT_8443_TCP=tcp://10.0.0.1:8443",
		"CLAVIGER_KEYS_PORT_8443_TCP_ADDR=10.0.0.1", "CLAVIGER_KEYS_PORT_8443_TCP_PROTO=tcp", "CLAVIGER_TEST_POSTGRES=postgres://x",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got := problems(t, router(), config.Source{Environ: []string{"CLAVIGER_KEYS_PORT=8443"}}); len(got) != 1 {
		t.Fatalf("problems = %v, want one", got)
	}
}

func TestPrintShowsSettingsWithoutSecrets(t *testing.T) {
	t.Parallel()
	msg := &settingsv1.Metering{
		Environment: "test", Database: &settingsv1.Database{Url: "postgres://u:" + canary + "@db/x", MaxConnections: 4},
		Nats: &settingsv1.Nats{Url: "nats://user:" + canary + "@a:4222,nats://" + canary + "@b:4222,tls://c:4222"},
	}
	got := config.Print(msg)
	want := `environment: test
database:
  url: '[secret]'
  max_connections: 4
nats:
  url: nats://[secret]@a:4222,nats://[secret]@b:4222,tls://c:4222
`
	if got != want {
		t.Errorf("Print =\n%s\nwant\n%s", got, want)
	}
	r := router()
	r.Vault.Token, r.Vault.SecretId = canary, canary
	r.ProviderBaseUrls = map[string]string{"a": "https://x:" + canary + "@h/p?api_key=" + canary + "&b=c", "b": "https://u:pa/ss" + canary + "@h"}
	if got := config.Print(r); strings.Contains(got, canary) || !strings.Contains(got, "b=c") || !strings.Contains(got, "https://vault:8200") {
		t.Errorf("Print =\n%s", got)
	}
	if got := config.Print(&settingsv1.Router{}); got != "{}\n" {
		t.Errorf("Print of nothing = %q", got)
	}
}

func TestPrintedSettingsCanBeReadAgain(t *testing.T) {
	t.Parallel()
	want := router()
	want.FirstByteTimeout = durationpb.New(1500 * time.Millisecond)
	want.JournalMaxBytes, want.DataDir = 1<<40, "true"
	want.ProviderBaseUrls = map[string]string{"yes": "null", "1": "*x"}
	got := &settingsv1.Router{}
	if err := config.Load(got, config.Source{File: write(t, "again.yaml", config.Print(want))}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Fatalf("settings differ (-want +got):\n%s", diff)
	}
}

func TestUsageNamesEveryKeyAndShowsNoSecret(t *testing.T) {
	t.Parallel()
	msg := router()
	msg.Vault.Token, msg.MaxStreams = canary, 10_000
	got := config.Usage(msg)
	for _, want := range []string{
		"--config FILE", "--check", "--tls.cert_file\n      a text; CLAVIGER_TLS_CERT_FILE; default c.pem",
		"--vault.token\n      a text; CLAVIGER_VAULT_TOKEN, or a file named in CLAVIGER_VAULT_TOKEN_FILE; default [secret]",
		"--max_streams\n      a whole number; CLAVIGER_MAX_STREAMS; default 10000",
		"--first_byte_timeout\n      a duration such as \"30s\"; CLAVIGER_FIRST_BYTE_TIMEOUT",
		"--provider_base_urls\n      a list like name=value,name=value; CLAVIGER_PROVIDER_BASE_URLS",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("usage lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, canary) {
		t.Errorf("usage shows a secret:\n%s", got)
	}
}

func TestSettingsOfEveryServiceHaveNamesOfTheirOwn(t *testing.T) {
	t.Parallel()
	for _, msg := range []proto.Message{&settingsv1.Keys{}, &settingsv1.Router{}, &settingsv1.Metering{}} {
		err := config.Load(msg, config.Source{})
		if _, ok := errors.AsType[*config.Error](err); !ok {
			t.Errorf("Load(%T) = %v, want mistakes only", msg, err)
		}
	}
}
