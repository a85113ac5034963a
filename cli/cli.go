// Package cli is the rbee command: each command parses, calls one function and prints. Data goes to
// stdout, everything else to stderr.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/alecthomas/kong"
	"github.com/lmittmann/tint"
	"golang.org/x/term"
)

// Version is set when the binary is built.
var Version = "dev"

// Exit codes.
const (
	exitDone      = 0
	exitFailed    = 1
	exitMisused   = 2
	exitCancelled = 130 // a one-shot run that Ctrl-C cancelled
)

// Globals are the flags that every command takes.
type Globals struct {
	DataDir  string          `help:"Folder of keys, models, engines and logs." default:"${data_dir}" type:"path" placeholder:"DIR"`
	Server   string          `help:"NATS server of a queen. Default: found in the data dir." placeholder:"URL"`
	Creds    string          `help:"Credentials file. Default: found in the data dir." type:"path" placeholder:"FILE"`
	JSON     bool            `help:"Print one JSON object a line." name:"json"`
	LogLevel string          `help:"debug, info, warn or error." enum:"debug,info,warn,error," default:""`
	Config   kong.ConfigFlag `help:"YAML file with values for any flag." placeholder:"FILE"`
}

type root struct {
	Globals
	Up         upCmd         `cmd:"" help:"Run bus, queen and hive on this machine, until Ctrl-C."`
	Run        runCmd        `cmd:"" help:"Answer a prompt, or chat; starts what is missing."`
	Status     statusCmd     `cmd:"" help:"Show the queen at a glance."`
	Ps         workerListCmd `cmd:"" help:"List the workers."`
	Hive       hiveCmd       `cmd:"" help:"Machines that run workers."`
	Worker     workerCmd     `cmd:"" help:"Processes that serve models."`
	Model      modelCmd      `cmd:"" help:"Models: bring them to the hives' disks, list, check and remove them."`
	Engine     engineCmd     `cmd:"" help:"Engines that run models."`
	Job        jobCmd        `cmd:"" help:"Operations that take time: spawns, pulls, installs."`
	Events     eventsCmd     `cmd:"" help:"Show what happens to workers and hives, and what happened."`
	Creds      credsCmd      `cmd:"" name:"creds" help:"Credentials for machines and clients."`
	Decode     decodeCmd     `cmd:"" help:"Turn msgpack on stdin into JSON lines, for nats sub --translate."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
	Completion completionCmd `cmd:"" help:"Print a completion script for your shell."`
}

// app is what a command works with.
type app struct {
	Globals
	ctx            context.Context
	stdin          io.Reader
	stdout, stderr io.Writer
	log            *slog.Logger
	exit           int // what a command that did not fail wants returned
	model          *kong.Application
}

// errMisused makes Main return 2.
var errMisused = errors.New("misused")

// Main runs one command and returns its exit code: 0 done, 1 failed, 2 misused, 130 cancelled.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var r root
	exited := -1
	parser, err := kong.New(&r, kong.Name("rbee"), kong.Description("Your machines as one LLM cluster, behind one OpenAI-compatible endpoint."),
		kong.Writers(stdout, stderr), kong.DefaultEnvars("RBEE"), kong.Vars{"data_dir": defaultDataDir()},
		kong.Configuration(yamlFile), kong.ConfigureHelp(kong.HelpOptions{Compact: true}), kong.Exit(func(code int) { exited = code; panic(helpShown{}) }))
	if err != nil {
		fmt.Fprintln(stderr, "rbee:", err)
		return exitMisused
	}
	k, err := parse(parser, args)
	if exited >= 0 {
		return exited
	}
	if err != nil {
		fmt.Fprintf(stderr, "rbee: %v\n", err)
		return exitMisused
	}
	if r.DataDir == "" {
		fmt.Fprintln(stderr, "rbee: no data dir: HOME is not set; give --data-dir or RBEE_DATA_DIR")
		return exitMisused
	}
	a := &app{Globals: r.Globals, ctx: ctx, stdin: stdin, stdout: stdout, stderr: stderr, model: parser.Model}
	a.log = a.logger(k.Command())
	if err := k.Run(a); err != nil {
		fmt.Fprintf(stderr, "rbee: %v\n", err)
		if errors.Is(err, errMisused) {
			return exitMisused
		}
		return exitFailed
	}
	return a.exit
}

// helpShown unwinds kong after --help, which would else end the process.
type helpShown struct{}

func parse(p *kong.Kong, args []string) (k *kong.Context, err error) {
	defer func() {
		if v := recover(); v != nil {
			if _, ok := v.(helpShown); !ok {
				panic(v)
			}
		}
	}()
	return p.Parse(args)
}

func defaultDataDir() string {
	if d := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(d) {
		return filepath.Join(d, "rbee")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "" // Main asks for --data-dir: keys do not belong in a folder for everybody
	}
	return filepath.Join(home, ".local", "share", "rbee")
}

// logger is tint on a terminal, JSON elsewhere. Commands that answer a person are quiet by default.
func (a *app) logger(command string) *slog.Logger {
	level := slog.LevelError
	if command == "up" {
		level = slog.LevelInfo
	}
	if a.LogLevel != "" {
		_ = level.UnmarshalText([]byte(a.LogLevel)) // kong has checked it
	}
	if isTerminal(a.stderr) {
		return slog.New(tint.NewTextHandler(a.stderr, &tint.Options{Level: level, TimeFormat: "15:04:05.000"}))
	}
	return slog.New(slog.NewJSONHandler(a.stderr, &slog.HandlerOptions{Level: level}))
}

func isTerminal(v any) bool {
	f, ok := v.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// misused is an error of the command line.
func misused(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errMisused, fmt.Sprintf(format, args...))
}
