package corus

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// inventory says which tests hold what a reader of these devices must do. The first
// part is what pwitab/iflag, the one public library, does; the second what it does
// not, or does wrongly. A test's rows are named behind a slash.
var inventory = []struct {
	what  string
	tests []string
}{
	{"wake-up, sign-on, PASS, break", []string{"TestTheForeignDeviceIsReadWithEveryFault/parameters", "TestCommandsAreThoseOfTheCorpus", "TestTheForeignClientReadsTheConverter"}},
	{"read one parameter or many", []string{"TestParametersOfTheCorpusAreRead", "TestTheProgramReadsAForeignConverter/parameters"}},
	{"write parameters", []string{"TestTheForeignDeviceIsWritten", "TestTheProgramWritesToAForeignConverter"}},
	{"map id", []string{"TestADeviceWithoutAMapIsReadByWhatIsKnown"}},
	{"pulse weight, given or asked for", []string{"TestRecordsAreReadAsTheCorpusSays", "TestDatabasesOfTheCorpusAreRead"}},
	{"interval, hourly, daily and monthly log", []string{
		"TestTheProgramReadsAForeignConverter/interval, frames aligned", "TestTheProgramReadsAForeignConverter/hourly",
		"TestTheProgramReadsAForeignConverter/daily", "TestTheProgramReadsAForeignConverter/monthly",
	}},
	{"limits by date", []string{"TestOnlyTheRowsOfTheTimeAskedForCome", "TestTheProgramReadsAWindowOfAForeignConverter"}},
	{"frames joined, records across them", []string{"TestTheProgramReadsAForeignConverter/interval, records straddle frames"}},
	{"CRC, NAK, three repeats", []string{"TestCRCIsThatOfTheCorpus", "TestTheForeignDeviceIsReadWithEveryFault/CRC spoiled twice, parameters"}},
	{"layouts by length, pulse flag, divisor", []string{"TestRecordsAreReadAsTheCorpusSays", "TestARecordOfUnknownLengthIsNamed"}},
	{"all types, and no value", []string{"TestTypesAreReadAsTheCorpusSays", "TestValuesAreWrittenAsTheCorpusSays"}},
	{"errors by kind", []string{"TestANAKIsARefusal", "TestASilentDatabaseIsATimeout", "TestWhatAForeignConverterRefusesIsTold"}},

	{"1 answers in pieces", []string{"TestTheProgramReadsAForeignConverter/parameters in pieces of 3 bytes", "TestTheProgramReadsAForeignConverter/interval byte by byte"}},
	{"2 wake-up again", []string{"TestTheForeignDeviceIsReadWithEveryFault/two wake-ups ignored"}},
	{"3 repeat of parameters", []string{"TestTheProgramReadsAForeignConverter/CRC spoiled once, parameters"}},
	{"4 repeat without doubled records", []string{
		"TestTheProgramReadsAForeignConverter/CRC spoiled once, third frame", "TestTheProgramReadsAForeignConverter/frame sent twice",
		"TestTheProgramReadsAForeignConverter/frame missing",
	}},
	{"5 empty log", []string{"TestTheProgramReadsAForeignConverter/empty database", "TestOddSessionsOfTheCorpusAreRead/empty-interval"}},
	{"6 NAK as its own error", []string{"TestANAKIsARefusal"}},
	{"7 date of zero", []string{"TestARecordWithAZeroDateKeepsItsOtherValues", "TestADateOfZeroIsNoValue"}},
	{"8 event, parameter and certification log", []string{
		"TestTheProgramReadsAForeignConverter/event log", "TestTheConverterIsWrittenAndKeepsALogOfIt", "TestTheMaskSaysWhichFieldsAreSent/certification",
	}},
	{"9 bits to count and to continue", []string{"TestABrokenTransferIsContinuedAsConfigured", "TestTheForeignDeviceIsReadWithEveryFault/continue bit"}},
	{"10 masks", []string{"TestTheMaskSaysWhichFieldsAreSent"}},
	{"11 float1, 2, 3, index, long ids and strings are written", []string{"TestTheForeignDeviceIsWritten", "FuzzNumbers", "FuzzTexts"}},
	{"12 huge floats, NaN", []string{"TestFloatsRoundHalfToEven", "TestTypesAreReadAsTheCorpusSays"}},
	{"13 check of PASS", []string{"TestADamagedPasswordIsNotTaken"}},
	{"14 both option selects", []string{"TestTheOtherOptionSelectIsTried", "TestTheProgramReadsAForeignConverter/0Z7"}},
	{"15 alarms", []string{"TestAnAlarmIsSevenValues", "TestTheConverterIsReadWithEachFault"}},
	{"16 long lists in parts", []string{"TestALongListIsAskedForInParts"}},
	{"17 conversation begun anew after silence", []string{"TestAConversationIsBegunAnewAfterSilence", "TestAHeldConversationGoesOnOrIsBegunAnew"}},
	{"18 clock with a zone", []string{"TestTimesAreThoseOfTheDevicesClock", "TestADateAroundTheChangesOfTheClock"}},
	{"19 map id in small letters", []string{"TestAMapForTheFirmwareGoesBeforeOneForAny"}},
	{"20 bytes behind the last record", []string{"TestBytesBehindTheLastRecordAreNoticed"}},
	{"an interrupted log goes on where it stopped", []string{"TestALogGoesOnWhereTheLineBroke", "TestRecordsOfAnotherDeviceDoNotFollowWhatWasLeft"}},
}

func TestTheInventorysTestsAreThere(t *testing.T) {
	var all strings.Builder
	for _, pattern := range []string{"*_test.go", "../sim/corus*_test.go", "../../bridge/commandline/foreign_corus*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, name := range files {
			content, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if name != "inventory_test.go" {
				all.Write(content)
			}
		}
	}
	source := all.String()
	for _, line := range inventory {
		for _, test := range line.tests {
			name, row, _ := strings.Cut(test, "/")
			_, body, found := strings.Cut(source, "func "+name+"(")
			body, _, _ = strings.Cut(body, "\n}\n")
			if !found || row != "" && !strings.Contains(body, `"`+row) {
				t.Errorf("%s: there is no %s", line.what, test)
			}
		}
	}
}
