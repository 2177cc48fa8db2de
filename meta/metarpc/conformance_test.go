package metarpc

import (
	"bytes"
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"sync"
	"testing"

	"kintsugi/meta"
	"kintsugi/meta/metatest"
)

// echo is a meta.Consensus that encodes and decodes all that goes through it, and notes what it was.
type echo struct {
	*metatest.Direct
	t    testing.TB
	seen *seen
}

type seen struct {
	mu      sync.Mutex // guards all
	queries map[string]bool
	ops     map[meta.Op]bool
}

func (e echo) Propose(ctx context.Context, group int, cmd []byte) (any, error) {
	c, err := meta.DecodeCommand(cmd)
	if err != nil {
		e.t.Error(err)
	}
	e.seen.mu.Lock()
	e.seen.ops[c.Op] = true
	e.seen.mu.Unlock()
	head := callHeader{group: group}.appendTo(nil)
	return e.back(propose(ctx, e.Direct, head, cmd))
}

func (e echo) Query(ctx context.Context, group int, q any, c meta.Consistency) (any, error) {
	e.seen.mu.Lock()
	e.seen.queries[strings.TrimPrefix(fmt.Sprintf("%T", q), "meta.")] = true
	e.seen.mu.Unlock()
	head, err := encodeQuery(callHeader{group: group, consistency: c}, q)
	if err != nil {
		e.t.Error(err)
	}
	return e.back(query(ctx, e.Direct, head))
}

// back is the way of an answer: what is decoded must encode to the same bytes.
func (e echo) back(head, body []byte, err error) (any, error) {
	if err != nil {
		f := faultOf(err)
		if f.Code == codeReplica {
			e.t.Errorf("%v is no answer", err)
		}
		return nil, f.err()
	}
	v, err := decodeResult(head, body)
	if err != nil {
		e.t.Error(err)
	}
	head2, body2, err := encodeResult(v)
	if err != nil || !bytes.Equal(head, head2) || !bytes.Equal(body, body2) {
		if len(head)+len(body) != len(head2)+len(body2) { // maps have no order
			e.t.Errorf("%+v: %x %x became %x %x, %v", v, head, body, head2, body2, err)
		}
	}
	return v, nil
}

// TestEverythingIsEncoded runs the suite of metadata clients through the encoding, and fails if the state machine
// has a query or a command that the suite did not bring through.
func TestEverythingIsEncoded(t *testing.T) {
	s := &seen{queries: make(map[string]bool), ops: make(map[meta.Op]bool)}
	metatest.Run(t, func(t testing.TB) *meta.Client {
		return meta.NewClient(echo{metatest.NewDirect(t, metatest.Groups), t, s})
	})
	for _, name := range queryNames(t) {
		if !s.queries[name] {
			t.Errorf("no test brings a %s over the wire", name)
		}
	}
	for i, name := range opNames(t) {
		if !s.ops[meta.Op(i+1)] && name != "OpDigest" { // which the replicas propose themselves
			t.Errorf("no test proposes %s", name)
		}
	}
}

// queryNames returns the query structs that the state machine answers.
func queryNames(t *testing.T) []string {
	t.Helper()
	var names []string
	ast.Inspect(parse(t, "../state/query.go"), func(n ast.Node) bool {
		clause, ok := n.(*ast.CaseClause)
		if !ok {
			return true
		}
		for _, e := range clause.List {
			if s, ok := e.(*ast.SelectorExpr); ok {
				names = append(names, s.Sel.Name)
			}
		}
		return true
	})
	if len(names) < 9 {
		t.Fatalf("the state machine answers only %q", names)
	}
	return names
}

// opNames returns the operations of package meta in the order of their numbers, from 1 on.
func opNames(t *testing.T) []string {
	t.Helper()
	var names []string
	ast.Inspect(parse(t, "../format.go"), func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(spec.Names[0].Name, "Op") {
			names = append(names, spec.Names[0].Name)
		}
		return true
	})
	if len(names) < 18 {
		t.Fatalf("package meta has only %q", names)
	}
	return names
}

func parse(t *testing.T, path string) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	return file
}
