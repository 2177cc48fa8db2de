package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"kintsugi/gateway/blob"
	"kintsugi/gateway/sigv4"
	"kintsugi/meta"
	"kintsugi/meta/metatest"
	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
)

const (
	testAccessKey = "TESTACCESSKEY"
	testSecretKey = "test/secret+key"
	testOwner     = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	testRegion    = "us-east-1"
)

// testKeys knows the one identity of the tests.
type testKeys struct{}

func (testKeys) Secret(accessKey string) (string, sigv4.Identity, bool) {
	if accessKey != testAccessKey {
		return "", sigv4.Identity{}, false
	}
	return testSecretKey, sigv4.Identity{AccessKey: accessKey, UserID: testOwner, DisplayName: "root"}, true
}

// testCluster is six drives in memory.
type testCluster struct {
	layout *placement.Map
	drives map[placement.DriveID]*shardstore.Memory
}

func (c *testCluster) Map() *placement.Map { return c.layout }

func (c *testCluster) Drive(id placement.DriveID) blob.Drive {
	if d, ok := c.drives[id]; ok {
		return d
	}
	return nil
}

func newTestCluster(t testing.TB) *testCluster {
	c := &testCluster{drives: make(map[placement.DriveID]*shardstore.Memory)}
	var drives []placement.Drive
	for i := range 6 {
		d := placement.Drive{ID: placement.DriveID{byte(i + 1)}, Node: "node", Zone: "zone", Weight: 1}
		c.drives[d.ID] = shardstore.NewMemory()
		drives = append(drives, d)
	}
	var err error
	if c.layout, err = placement.Birth(placement.ClusterID{1}, 64, 4, 2, drives); err != nil {
		t.Fatal(err)
	}
	return c
}

// shards counts what the drives hold.
func (c *testCluster) shards(t testing.TB) int {
	n := 0
	for _, d := range c.drives {
		for p := range c.layout.Partitions {
			infos, err := d.List(t.Context(), uint32(p), placement.ShardID{}, 1000)
			if err != nil {
				t.Fatal(err)
			}
			n += len(infos)
		}
	}
	return n
}

// testServer is a gateway on loopback over metadata and drives in memory.
type testServer struct {
	*Server
	t       testing.TB
	address string
	region  string // that requests are signed for
	meta    *meta.Client
	cluster *testCluster
	client  *http.Client
}

// newTestServer starts a server and stops it when the test ends. Options change its configuration.
func newTestServer(t testing.TB, options ...func(*Config)) *testServer {
	t.Helper()
	cluster := newTestCluster(t)
	blobs, err := blob.New(blob.Config{}, cluster)
	if err != nil {
		t.Fatal(err)
	}
	client := metatest.New(t)
	config := Config{Meta: client, Blobs: blobs, Keys: testKeys{}, Region: testRegion}
	for _, option := range options {
		option(&config)
	}
	server, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}
	s := &testServer{Server: server, t: t, address: listener.Addr().String(), region: config.Region, meta: client, cluster: cluster, client: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		for range 50 { // a connection that Shutdown sees costs 100 ms
			if server.http.GetOpenConnectionsCount() <= 0 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		_ = server.Shutdown(ctx) // cuts off what a test left open
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := blobs.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// inRegion is an option: another region than the default.
func inRegion(name string) func(*Config) { return func(c *Config) { c.Region = name } }

// withBucket starts a server with a bucket named "bucket".
func withBucket(t testing.TB, options ...func(*Config)) *testServer {
	t.Helper()
	s := newTestServer(t, options...)
	s.put("/bucket", "")
	return s
}

// answer is a response that was read to its end.
type answer struct {
	t      testing.TB
	status int
	header http.Header
	body   string
	err    error // of reading the body
	last   bool  // the server closes the connection
}

// request makes a request without signature. Headers are name, value, name, value, ...
func (s *testServer) request(method, target, body string, headers ...string) *http.Request {
	s.t.Helper()
	r, err := http.NewRequest(method, "http://"+s.address+target, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body == "" {
		r.Body, r.ContentLength = nil, 0
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

// sign signs a request; the payload hash is that of body unless the header is there already.
func (s *testServer) sign(r *http.Request, body string) {
	s.t.Helper()
	payload := r.Header.Get("X-Amz-Content-Sha256")
	if payload == "" {
		sum := sha256.Sum256([]byte(body))
		payload = hex.EncodeToString(sum[:])
		r.Header.Set("X-Amz-Content-Sha256", payload)
	}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	credentials := aws.Credentials{AccessKeyID: testAccessKey, SecretAccessKey: testSecretKey}
	if err := signer.SignHTTP(s.t.Context(), credentials, r, payload, "s3", s.region, time.Now()); err != nil {
		s.t.Fatal(err)
	}
}

// presign returns the path and query of a presigned URL.
func (s *testServer) presign(method, target string, headers ...string) string {
	s.t.Helper()
	r := s.request(method, target, "", headers...)
	query := r.URL.Query()
	if !query.Has("X-Amz-Expires") {
		query.Set("X-Amz-Expires", "600")
	}
	r.URL.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20")
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	credentials := aws.Credentials{AccessKeyID: testAccessKey, SecretAccessKey: testSecretKey}
	signed, _, err := signer.PresignHTTP(s.t.Context(), credentials, r, "UNSIGNED-PAYLOAD", "s3", s.region, time.Now())
	if err != nil {
		s.t.Fatal(err)
	}
	u, err := url.Parse(signed)
	if err != nil {
		s.t.Fatal(err)
	}
	return u.RequestURI()
}

// send sends a request and reads the answer.
func (s *testServer) send(r *http.Request) *answer {
	s.t.Helper()
	response, err := s.client.Do(r)
	if err != nil {
		s.t.Fatalf("%s %s: %v", r.Method, r.URL, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	a := &answer{t: s.t, status: response.StatusCode, header: response.Header, body: string(body), err: err, last: response.Close}
	a.check(r.Method)
	return a
}

// check holds what is true of every answer: the ids of row 154, and no body where there may be none.
func (a *answer) check(method string) {
	a.t.Helper()
	id := a.header.Get("x-amz-request-id")
	if id == "" || a.header.Get("x-amz-id-2") == "" {
		a.t.Errorf("row 154: an answer has no request id: %v", a.header)
	}
	if method == http.MethodHead && a.body != "" {
		a.t.Errorf("an answer to HEAD has a body: %q", a.body)
	}
	if a.code() != "" && !strings.Contains(a.body, "<RequestId>"+id+"</RequestId>") {
		a.t.Errorf("row 154: the document has another request id than %s: %s", id, a.body)
	}
}

// do sends a signed request.
func (s *testServer) do(method, target, body string, headers ...string) *answer {
	s.t.Helper()
	r := s.request(method, target, body, headers...)
	s.sign(r, body)
	return s.send(r)
}

// anonymous sends a request without signature.
func (s *testServer) anonymous(method, target, body string, headers ...string) *answer {
	s.t.Helper()
	return s.send(s.request(method, target, body, headers...))
}

// put, get and del are do with a wanted success.
func (s *testServer) put(target, body string, headers ...string) *answer {
	s.t.Helper()
	return s.do(http.MethodPut, target, body, headers...).want(200, "")
}

func (s *testServer) get(target string, headers ...string) *answer {
	s.t.Helper()
	return s.do(http.MethodGet, target, "", headers...)
}

func (s *testServer) head(target string, headers ...string) *answer {
	s.t.Helper()
	return s.do(http.MethodHead, target, "", headers...)
}

func (s *testServer) del(target string, headers ...string) *answer {
	s.t.Helper()
	return s.do(http.MethodDelete, target, "", headers...)
}

// want fails the test unless the answer has this status and error code ("" for none, or for HEAD).
func (a *answer) want(status int, code string) *answer {
	a.t.Helper()
	if got := a.code(); a.status != status || got != code {
		a.t.Fatalf("got %d %q, want %d %q: %s", a.status, got, status, code, a.body)
	}
	return a
}

// code returns the code of an error document, "" if the body is none.
func (a *answer) code() string {
	if !strings.HasPrefix(a.body, xmlHeader+"<Error>") {
		return ""
	}
	return a.element("Error", "Code")
}

// element returns the text of the first element with this path, which may begin anywhere.
func (a *answer) element(path ...string) string {
	decoder := xml.NewDecoder(strings.NewReader(a.body))
	depth := 0
	for {
		token, err := decoder.Token()
		if err != nil {
			return ""
		}
		start, ok := token.(xml.StartElement)
		if !ok || start.Name.Local != path[depth] {
			continue
		}
		if depth++; depth == len(path) {
			var text string
			if decoder.DecodeElement(&text, &start) != nil {
				return ""
			}
			return text
		}
	}
}

// elements returns the texts of all elements with this name.
func (a *answer) elements(name string) []string {
	var texts []string
	decoder := xml.NewDecoder(strings.NewReader(a.body))
	for {
		token, err := decoder.Token()
		if err != nil {
			return texts
		}
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == name {
			var text string
			if decoder.DecodeElement(&text, &start) == nil {
				texts = append(texts, text)
			}
		}
	}
}

// wantHeader fails the test unless a header has this value.
func (a *answer) wantHeader(name, value string) *answer {
	a.t.Helper()
	if got := a.header.Get(name); got != value {
		a.t.Errorf("%s is %q, want %q", name, got, value)
	}
	return a
}

// wantBody fails the test unless the body is this.
func (a *answer) wantBody(body string) *answer {
	a.t.Helper()
	if a.err != nil {
		a.t.Fatalf("reading the body: %v", a.err)
	}
	if a.body != body {
		a.t.Fatalf("the body has %d bytes %.40q, want %d bytes %.40q", len(a.body), a.body, len(body), body)
	}
	return a
}

// pattern returns n bytes that repeat nowhere near a block.
func pattern(n int) string {
	b := make([]byte, n+4)
	for i := 0; i < n; i += 4 {
		binary.LittleEndian.PutUint32(b[i:], uint32(i/4+1)*2654435761)
	}
	return string(b[:n])
}
