// Package bench measures an S3 endpoint from outside: it generates load, keeps
// latencies, checks what comes back and reports figures.
//
// It must not know which server answers: it imports none of the server's
// packages and works against any endpoint. It runs beside the server on small
// machines, so its own processor time is kept near that of the system calls it
// makes: one connection per worker, requests signed into a reused buffer, bodies
// taken from one random buffer.
package bench
