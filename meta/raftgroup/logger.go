package raftgroup

import (
	"context"
	"fmt"
	"log/slog"
)

// raftLogger gives raft's own messages to slog. What raft calls fatal is a panic, which the loop turns
// into a failure of the host.
type raftLogger struct{ log *slog.Logger }

func (l raftLogger) emit(level slog.Level, text func() string) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, "raft", slog.String("detail", text()))
	}
}

func (l raftLogger) Debug(v ...any) {
	l.emit(slog.LevelDebug, func() string { return fmt.Sprint(v...) })
}
func (l raftLogger) Debugf(f string, v ...any) {
	l.emit(slog.LevelDebug, func() string { return fmt.Sprintf(f, v...) })
}
func (l raftLogger) Info(v ...any)            { l.Debug(v...) }
func (l raftLogger) Infof(f string, v ...any) { l.Debugf(f, v...) }
func (l raftLogger) Warning(v ...any) {
	l.emit(slog.LevelInfo, func() string { return fmt.Sprint(v...) })
}
func (l raftLogger) Warningf(f string, v ...any) {
	l.emit(slog.LevelInfo, func() string { return fmt.Sprintf(f, v...) })
}
func (l raftLogger) Error(v ...any) {
	l.emit(slog.LevelError, func() string { return fmt.Sprint(v...) })
}
func (l raftLogger) Errorf(f string, v ...any) {
	l.emit(slog.LevelError, func() string { return fmt.Sprintf(f, v...) })
}
func (l raftLogger) Fatal(v ...any)            { l.Panic(v...) }
func (l raftLogger) Fatalf(f string, v ...any) { l.Panicf(f, v...) }
func (l raftLogger) Panic(v ...any)            { panic(fmt.Sprint(v...)) }
func (l raftLogger) Panicf(f string, v ...any) { panic(fmt.Sprintf(f, v...)) }
