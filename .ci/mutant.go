// Command mutant stands in for the go command while Gremlins runs, so that thousands of
// changed packages are tried in minutes: nearly all of the time of a change goes into
// compiling and linking it, and this compiles them all at once.
//
//	STEP=collect  each change that Gremlins makes is kept in $CHANGES and taken for noticed;
//	mutant weave  one test binary is made of the package with every function replaced by
//	              a switch over its changes, and its tests are timed without any;
//	STEP=try      each change is looked up by its bytes and the binary told its number:
//	              quick tests first, slower ones if those notice nothing. A change outside
//	              functions (tables, constants) is compiled by itself.
//
// A change that loops without an end runs into a limit of processor time, which counts as
// noticed and does not depend on what else the machine does.
//
// Environment: of the changes, one in SHARE is tried; NOTICED names a file with the keys of the changes that were noticed, to
// which more are added; PACKAGE (drivers/p1) in REPOSITORY, its tests as -run wants them in TESTS,
// the real go command in GO. Exit codes are what Gremlins takes them for: 0 lived, 1
// killed, 2 does not compile.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// number is the variable that tells the woven binary which change is on, and the name of
// the file that declares it.
const number = "gremlinsNumber"

// woven is what weave leaves for the tries, in $CHANGES/woven.json.
type woven struct {
	Numbers   map[string]int  // by the key of a changed file
	NotViable map[string]bool // keys of changes that do not compile
	Runs      []run           // quick tests first
}

// run is a group of tests: what -test.run gets, and how many seconds of the processor a
// change may take for them.
type run struct {
	Tests string
	Limit string
}

// change is one file as Gremlins left it; in is the function that differs, nil outside.
type change struct {
	number int
	key    string
	name   string
	text   []byte
	in     *ast.FuncDecl
}

// spot is where a change lies in a woven file, in lines.
type spot struct {
	name       string
	begin, end int
	number     int
}

var (
	kept   = os.Getenv("CHANGES")
	folder = filepath.Join(os.Getenv("REPOSITORY"), os.Getenv("PACKAGE"))
)

func main() {
	switch {
	case len(os.Args) > 1 && os.Args[1] == "weave":
		check(weave())
	case len(os.Args) > 1 && os.Args[1] == "test" && slices.Contains(os.Args, "-coverprofile"):
		check(cover(after("-coverprofile")))
	case len(os.Args) > 1 && os.Args[1] == "test" && os.Getenv("STEP") == "collect":
		check(collect())
	case len(os.Args) > 1 && os.Args[1] == "test":
		os.Exit(try())
	default:
		os.Exit(code(pass(exec.Command(os.Getenv("GO"), os.Args[1:]...)).Run()))
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutant:", err)
		os.Exit(3)
	}
}

func after(flag string) string { return os.Args[slices.Index(os.Args, flag)+1] }

func pass(c *exec.Cmd) *exec.Cmd {
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	return c
}

func code(err error) int {
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		return max(failed.ExitCode(), 1)
	}
	check(err)
	return 0
}

// cover calls every line covered: by the real profile no case of a switch ever is, and
// what is not covered is not changed. Before the tries it runs the tests unchanged, since
// from the time of that Gremlins derives how long a change may take.
func cover(profile string) error {
	if os.Getenv("STEP") == "try" {
		if out, err := runTests(filepath.Join(kept, "woven"), 0, loadWoven().Runs, "2m"); err != nil {
			return fmt.Errorf("the tests fail without any change: %w\n%s", err, out)
		}
	}
	files, err := sources(folder)
	if err != nil {
		return err
	}
	module, err := exec.Command(os.Getenv("GO"), "list", "-m").Output()
	if err != nil {
		return err
	}
	text := "mode: set\n"
	for name := range files {
		text += fmt.Sprintf("%s/%s/%s:1.1,100000.1 1 1\n", bytes.TrimSpace(module), os.Getenv("PACKAGE"), name)
	}
	return os.WriteFile(profile, []byte(text), 0o600)
}

// sources reads a package's files that are no tests, by name.
func sources(folder string) (map[string][]byte, error) {
	paths, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		if files[filepath.Base(path)], err = os.ReadFile(path); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// changed finds the file of the current folder that is not as in the repository.
func changed() (name string, text []byte, err error) {
	ours, err := sources(folder)
	if err != nil {
		return "", nil, err
	}
	theirs, err := sources(".")
	if err != nil {
		return "", nil, err
	}
	for name, text := range theirs {
		if !bytes.Equal(text, ours[name]) {
			return name, text, nil
		}
	}
	return "", nil, errors.New("no file is changed")
}

func key(name string, text []byte) string {
	sum := sha256.Sum256(text)
	return name + ":" + hex.EncodeToString(sum[:])
}

func collect() error {
	name, text, err := changed()
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	if err := os.WriteFile(filepath.Join(kept, hex.EncodeToString(sum[:8])+" "+name), text, 0o600); err != nil {
		return err
	}
	os.Exit(1)
	return nil
}

// try tests the change in the current folder.
func try() int {
	name, text, err := changed()
	check(err)
	all := loadWoven()
	limit := after("-timeout")
	key := key(name, text)
	if all.NotViable[key] {
		return 2
	}
	if !shared(text) {
		check(note(filepath.Join(kept, "passed-over"), key))
		return 2
	}
	binary := filepath.Join(kept, "woven")
	id, ok := all.Numbers[key]
	if !ok {
		here, err := os.Getwd()
		check(err)
		binary = filepath.Join(here, "alone.test")
		replaced := map[string]string{filepath.Join(folder, name): filepath.Join(here, name)}
		if out, err := compile(binary, replaced); err != nil {
			fmt.Fprintf(os.Stderr, "%s", out)
			return 2
		}
	}
	if slices.Contains(strings.Fields(read(os.Getenv("NOTICED"))), key) {
		return 1
	}
	if _, err := runTests(binary, id, all.Runs, limit); err != nil {
		code(err)
		check(note(os.Getenv("NOTICED"), key))
		return 1
	}
	return 0
}

// shared says whether a changed file belongs to the share that is tried: by its sum, so
// that it is always the same one.
func shared(text []byte) bool {
	share, err := strconv.Atoi(os.Getenv("SHARE"))
	check(err)
	return sha256.Sum256(text)[0]%byte(share) == 0
}

// read gives a file's text, none of a file that is not there.
func read(path string) string {
	text, err := os.ReadFile(path)
	if !errors.Is(err, os.ErrNotExist) {
		check(err)
	}
	return string(text)
}

// note adds the key of a change to a file.
func note(path, key string) error {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(file, key)
	return errors.Join(err, file.Close())
}

// runTests runs a binary's tests in the package's own folder, a group after the other,
// until one fails.
func runTests(binary string, id int, runs []run, limit string) ([]byte, error) {
	for _, run := range runs {
		test := exec.Command("bash", "-c", `ulimit -t "$0" && exec "$@"`, run.Limit, // Go does not heed a soft limit
			binary, "-test.failfast", "-test.timeout="+limit, "-test.run="+run.Tests)
		test.Dir = folder
		test.Env = append(os.Environ(), number+"="+strconv.Itoa(id))
		if out, err := test.CombinedOutput(); err != nil {
			return out, err
		}
	}
	return nil, nil
}

// compile makes a test binary of the package, with the files of the map in the place of
// the repository's.
func compile(binary string, replaced map[string]string) ([]byte, error) {
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(binary+".json", overlay, 0o600); err != nil {
		return nil, err
	}
	build := exec.Command(os.Getenv("GO"), "test", "-c", "-vet=off", "-ldflags=-s -w", "-gcflags=-e",
		"-overlay", binary+".json", "-o", binary, ".")
	build.Dir = folder
	return build.CombinedOutput()
}

func loadWoven() woven {
	var all woven
	text, err := os.ReadFile(filepath.Join(kept, "woven.json"))
	check(err)
	check(json.Unmarshal(text, &all))
	return all
}

// weave makes the one binary of all changes that were collected. Those that do not
// compile are found by the lines that the compiler names, and left out of the next try.
func weave() error {
	changes, err := collected()
	if err != nil {
		return err
	}
	all := woven{Numbers: map[string]int{}, NotViable: map[string]bool{}}
	for {
		spots, out, err := weaveOnce(changes, all.NotViable)
		if err == nil {
			break
		}
		bad := named(spots, out)
		if len(bad) == 0 {
			return fmt.Errorf("the changes do not compile: %w\n%s", err, out)
		}
		for _, c := range changes {
			if bad[c.number] {
				all.NotViable[c.key] = true
			}
		}
	}
	alone := 0
	for _, c := range changes {
		switch {
		case c.in == nil && !all.NotViable[c.key]:
			alone++
		case !all.NotViable[c.key]:
			all.Numbers[c.key] = c.number
		}
	}
	if all.Runs, err = timed(); err != nil {
		return err
	}
	fmt.Printf("mutant: %d changes in one binary, %d to be compiled alone, %d do not compile\n",
		len(all.Numbers), alone, len(all.NotViable))
	text, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(kept, "woven.json"), text, 0o600)
}

func collected() ([]change, error) {
	ours, err := sources(folder)
	if err != nil {
		return nil, err
	}
	paths, err := filepath.Glob(filepath.Join(kept, "* *.go"))
	if err != nil {
		return nil, err
	}
	var changes []change
	for i, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		_, name, _ := strings.Cut(filepath.Base(path), " ")
		if !shared(text) {
			continue
		}
		in, err := difference(ours[name], text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		changes = append(changes, change{number: i + 1, key: key(name, text), name: name, text: text, in: in})
	}
	return changes, nil
}

// difference is the one function of the changed text whose tokens are not the same; nil
// if what differs is no function.
func difference(before, after []byte) (*ast.FuncDecl, error) {
	was, err := parser.ParseFile(token.NewFileSet(), "", before, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	is, err := parser.ParseFile(token.NewFileSet(), "", after, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for i := range is.Decls {
		if slices.Equal(tokens(before, was.Decls[i]), tokens(after, is.Decls[i])) {
			continue
		}
		in, _ := is.Decls[i].(*ast.FuncDecl)
		return in, nil
	}
	return nil, errors.New("nothing differs")
}

func tokens(text []byte, of ast.Decl) []string {
	part := text[of.Pos()-1 : of.End()-1]
	set := token.NewFileSet()
	var scan scanner.Scanner
	scan.Init(set.AddFile("", -1, len(part)), part, nil, 0)
	var all []string
	for {
		_, kind, word := scan.Scan()
		if kind == token.EOF {
			return all
		}
		if kind != token.SEMICOLON {
			all = append(all, kind.String()+" "+word)
		}
	}
}

// weaveOnce writes each file with its changes and compiles.
func weaveOnce(changes []change, without map[string]bool) ([]spot, []byte, error) {
	ours, err := sources(folder)
	if err != nil {
		return nil, nil, err
	}
	var spots []spot
	replaced := map[string]string{}
	put := func(name string, text []byte) error {
		path := filepath.Join(kept, "woven "+name+".txt")
		replaced[filepath.Join(folder, name)] = path
		return os.WriteFile(path, text, 0o600)
	}
	for name, text := range ours {
		its := slices.DeleteFunc(slices.Clone(changes), func(c change) bool {
			return c.name != name || c.in == nil || without[c.key]
		})
		if len(its) == 0 {
			continue
		}
		whole, where, err := weaveFile(name, text, its)
		if err != nil {
			return nil, nil, err
		}
		spots = append(spots, where...)
		if err := put(name, whole); err != nil {
			return nil, nil, err
		}
	}
	declared := fmt.Sprintf("package %s\n\nimport (\n\"os\"\n\"strconv\"\n)\n\nvar %s, _ = strconv.Atoi(os.Getenv(%q))\n",
		filepath.Base(folder), number, number)
	if err := put(number+".go", []byte(declared)); err != nil {
		return nil, nil, err
	}
	out, err := compile(filepath.Join(kept, "woven"), replaced)
	return spots, out, err
}

// weaveFile puts a switch in the place of each function's body: a case for each of its
// changes, and the body as it is.
func weaveFile(name string, text []byte, changes []change) ([]byte, []spot, error) {
	file, err := parser.ParseFile(token.NewFileSet(), "", text, parser.SkipObjectResolution)
	if err != nil {
		return nil, nil, err
	}
	var out bytes.Buffer
	var spots []spot
	done := token.Pos(1)
	for _, decl := range file.Decls {
		function, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		its := slices.DeleteFunc(slices.Clone(changes), func(c change) bool { return title(c.in) != title(function) })
		if len(its) == 0 {
			continue
		}
		out.Write(text[done-1 : function.Body.Lbrace])
		fmt.Fprintf(&out, "\nswitch %s {\n", number)
		for _, c := range its {
			begin := lines(&out)
			fmt.Fprintf(&out, "case %d:\n%s\n", c.number, body(c))
			spots = append(spots, spot{name: name, begin: begin, end: lines(&out), number: c.number})
		}
		fmt.Fprintf(&out, "default:%s\n}\n}", text[function.Body.Lbrace:function.Body.Rbrace-1])
		done = function.Body.Rbrace + 1
	}
	out.Write(text[done-1:])
	return out.Bytes(), spots, nil
}

// title is a function's name with that of its receiver.
func title(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return f.Name.Name
	}
	kind := f.Recv.List[0].Type
	if pointer, ok := kind.(*ast.StarExpr); ok {
		kind = pointer.X
	}
	if generic, ok := kind.(*ast.IndexExpr); ok {
		kind = generic.X
	}
	return fmt.Sprint(kind, ".", f.Name.Name)
}

func lines(out *bytes.Buffer) int { return bytes.Count(out.Bytes(), []byte("\n")) + 1 }

// body is the text between the braces of a changed function. Labels belong to the whole
// function, so each change has its own.
func body(c change) []byte {
	var labels []int
	ast.Inspect(c.in.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.LabeledStmt:
			labels = append(labels, int(n.Label.End())-1)
		case *ast.BranchStmt:
			if n.Label != nil {
				labels = append(labels, int(n.Label.End())-1)
			}
		}
		return true
	})
	slices.Sort(labels)
	var out []byte
	at := int(c.in.Body.Lbrace)
	for _, label := range labels {
		out = append(out, c.text[at:label]...)
		out = append(out, "_"+strconv.Itoa(c.number)...)
		at = label
	}
	return append(out, c.text[at:c.in.Body.Rbrace-1]...)
}

// named are the changes on whose lines the compiler found something.
func named(spots []spot, out []byte) map[int]bool {
	bad := map[int]bool{}
	for _, line := range regexp.MustCompile(`(?m)^(\S[^:\n]*):(\d+):\d+: `).FindAllSubmatch(out, -1) {
		at, _ := strconv.Atoi(string(line[2]))
		for _, s := range spots {
			if strings.Contains(filepath.Base(string(line[1])), s.name) && s.begin <= at && at < s.end {
				bad[s.number] = true
			}
		}
	}
	return bad
}

// timed runs the tests without a change, and parts them: first those that take least,
// which together take a fifth of the time.
func timed() ([]run, error) {
	test := exec.Command(filepath.Join(kept, "woven"), "-test.v", "-test.run="+os.Getenv("TESTS"))
	test.Dir = folder
	out, err := test.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("the tests fail without any change: %w\n%s", err, out)
	}
	times := map[string]time.Duration{}
	var total time.Duration
	for _, line := range regexp.MustCompile(`(?m)^--- PASS: (\w+) \((.*)\)$`).FindAllSubmatch(out, -1) {
		took, err := time.ParseDuration(string(line[2]))
		if err != nil {
			return nil, err
		}
		times[string(line[1])] = took
		total += took
	}
	var quick, slow []string
	var spent time.Duration
	for _, name := range slices.SortedFunc(maps.Keys(times), func(a, b string) int { return int(times[a] - times[b]) }) {
		if spent += times[name]; spent <= total/5 {
			quick = append(quick, name)
		} else {
			slow = append(slow, name)
		}
	}
	limit := strconv.Itoa(max(2, int(3*(test.ProcessState.UserTime()+test.ProcessState.SystemTime())/time.Second)))
	return []run{{"^(" + strings.Join(quick, "|") + ")$", limit}, {"^(" + strings.Join(slow, "|") + ")$", limit}}, nil
}
