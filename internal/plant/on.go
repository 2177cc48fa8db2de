//go:build chaosbugs

package plant

import (
	"fmt"
	"os"
	"slices"
	"sync"
)

// chosen reads the environment once. The one global of the project: the tag is for proofs only.
var chosen = sync.OnceValue(func() Bug {
	bug := Bug(os.Getenv(Env))
	if bug != "" && !slices.Contains(All(), bug) {
		panic(fmt.Sprintf("%s=%s: no such bug; there are %v", Env, bug, All()))
	}
	return bug
})

// Is tells whether the bug is planted.
func Is(b Bug) bool { return chosen() == b }
