package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"strings"
	"sync"
)

// maxCachedKeys bounds the cache; a presigned URL may be seven days old, so one access key has at most nine.
const maxCachedKeys = 4096

// signingKey is a secret derived for one day, region and service.
type signingKey struct {
	secret string // that it was derived from
	scope  string // date/region/service/aws4_request
	macs   sync.Pool
}

// mac returns an HMAC with the key, ready to write to; put it back into macs.
func (k *signingKey) mac() hash.Hash {
	m := k.macs.Get().(hash.Hash)
	m.Reset()
	return m
}

type keyName struct{ accessKey, date string }

// keyCache keeps derived keys, which cost four HMACs each.
type keyCache struct {
	mu   sync.RWMutex
	keys map[keyName]*signingKey // guarded by mu
}

func newKeyCache() keyCache { return keyCache{keys: make(map[keyName]*signingKey)} }

// get derives the key of c, whose region and service were checked before. Unknown access
// keys share one entry a day, so that they can neither fill the cache nor be told apart by time.
func (kc *keyCache) get(c *claim, secret string, known bool) *signingKey {
	name := keyName{c.accessKey, c.date}
	if !known {
		name.accessKey = ""
	}
	kc.mu.RLock()
	k := kc.keys[name]
	kc.mu.RUnlock()
	if k != nil && k.secret == secret {
		return k
	}
	k = derive(c, secret)
	name = keyName{strings.Clone(name.accessKey), k.scope[:len(c.date)]}
	kc.mu.Lock()
	defer kc.mu.Unlock()
	if len(kc.keys) >= maxCachedKeys {
		clear(kc.keys)
	}
	kc.keys[name] = k
	return k
}

func derive(c *claim, secret string) *signingKey {
	step := func(key []byte, data string) []byte {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(data))
		return m.Sum(nil)
	}
	key := step([]byte("AWS4"+secret), c.date)
	key = step(key, c.region)
	key = step(key, c.service)
	key = step(key, terminator)
	k := &signingKey{secret: secret, scope: c.date + "/" + c.region + "/" + c.service + "/" + terminator}
	k.macs.New = func() any { return hmac.New(sha256.New, key) }
	return k
}
