package corus

import (
	"testing"

	"github.com/meter2mqtt/meter2mqtt/drivers/decodertest"
)

// inventory says which tests hold what a reader of these devices must do. The first
// part is what pwitab/iflag, the one public library, does; the second what it does
// not, or does wrongly.
var inventory = []decodertest.Line{
	{What: "wake-up, sign-on, PASS, break", Tests: []string{"TestTheForeignDeviceIsReadWithEveryFault/parameters", "TestCommandsAreThoseOfTheCorpus", "TestTheForeignClientReadsTheConverter"}},
	{What: "read one parameter or many", Tests: []string{"TestParametersOfTheCorpusAreRead", "TestTheProgramReadsAForeignConverter/parameters"}},
	{What: "write parameters", Tests: []string{"TestTheForeignDeviceIsWritten", "TestTheProgramWritesToAForeignConverter"}},
	{What: "map id", Tests: []string{"TestADeviceWithoutAMapIsReadByWhatIsKnown"}},
	{What: "pulse weight, given or asked for", Tests: []string{"TestRecordsAreReadAsTheCorpusSays", "TestDatabasesOfTheCorpusAreRead"}},
	{What: "interval, hourly, daily and monthly log", Tests: []string{
		"TestTheProgramReadsAForeignConverter/interval, frames aligned", "TestTheProgramReadsAForeignConverter/hourly",
		"TestTheProgramReadsAForeignConverter/daily", "TestTheProgramReadsAForeignConverter/monthly",
	}},
	{What: "limits by date", Tests: []string{"TestOnlyTheRowsOfTheTimeAskedForCome", "TestTheProgramReadsAWindowOfAForeignConverter"}},
	{What: "frames joined, records across them", Tests: []string{"TestTheProgramReadsAForeignConverter/interval, records straddle frames"}},
	{What: "CRC, NAK, three repeats", Tests: []string{"TestCRCIsThatOfTheCorpus", "TestTheForeignDeviceIsReadWithEveryFault/CRC spoiled twice, parameters"}},
	{What: "layouts by length, pulse flag, divisor", Tests: []string{"TestRecordsAreReadAsTheCorpusSays", "TestARecordOfUnknownLengthIsNamed"}},
	{What: "all types, and no value", Tests: []string{"TestTypesAreReadAsTheCorpusSays", "TestValuesAreWrittenAsTheCorpusSays"}},
	{What: "errors by kind", Tests: []string{"TestANAKIsARefusal", "TestASilentDatabaseIsATimeout", "TestWhatAForeignConverterRefusesIsTold"}},

	{What: "1 answers in pieces", Tests: []string{"TestTheProgramReadsAForeignConverter/parameters in pieces of 3 bytes", "TestTheProgramReadsAForeignConverter/interval byte by byte"}},
	{What: "2 wake-up again", Tests: []string{"TestTheForeignDeviceIsReadWithEveryFault/two wake-ups ignored"}},
	{What: "3 repeat of parameters", Tests: []string{"TestTheProgramReadsAForeignConverter/CRC spoiled once, parameters"}},
	{What: "4 repeat without doubled records", Tests: []string{
		"TestTheProgramReadsAForeignConverter/CRC spoiled once, third frame", "TestTheProgramReadsAForeignConverter/frame sent twice",
		"TestTheProgramReadsAForeignConverter/frame missing",
	}},
	{What: "5 empty log", Tests: []string{"TestTheProgramReadsAForeignConverter/empty database", "TestOddSessionsOfTheCorpusAreRead/empty-interval"}},
	{What: "6 NAK as its own error", Tests: []string{"TestANAKIsARefusal"}},
	{What: "7 date of zero", Tests: []string{"TestARecordWithAZeroDateKeepsItsOtherValues", "TestADateOfZeroIsNoValue"}},
	{What: "8 event, parameter and certification log", Tests: []string{
		"TestTheProgramReadsAForeignConverter/event log", "TestTheConverterIsWrittenAndKeepsALogOfIt", "TestTheMaskSaysWhichFieldsAreSent/certification",
	}},
	{What: "9 bits to count and to continue", Tests: []string{"TestABrokenTransferIsContinuedAsConfigured", "TestTheForeignDeviceIsReadWithEveryFault/continue bit"}},
	{What: "10 masks", Tests: []string{"TestTheMaskSaysWhichFieldsAreSent"}},
	{What: "11 float1, 2, 3, index, long ids and strings are written", Tests: []string{"TestTheForeignDeviceIsWritten", "FuzzNumbers", "FuzzTexts"}},
	{What: "12 huge floats, NaN", Tests: []string{"TestFloatsRoundHalfToEven", "TestTypesAreReadAsTheCorpusSays"}},
	{What: "13 check of PASS", Tests: []string{"TestADamagedPasswordIsNotTaken"}},
	{What: "14 both option selects", Tests: []string{"TestTheOtherOptionSelectIsTried", "TestTheProgramReadsAForeignConverter/0Z7"}},
	{What: "15 alarms", Tests: []string{"TestAnAlarmIsSevenValues", "TestTheConverterIsReadWithEachFault"}},
	{What: "16 long lists in parts", Tests: []string{"TestALongListIsAskedForInParts"}},
	{What: "17 conversation begun anew after silence", Tests: []string{"TestAConversationIsBegunAnewAfterSilence", "TestAHeldConversationGoesOnOrIsBegunAnew"}},
	{What: "18 clock with a zone", Tests: []string{"TestTimesAreThoseOfTheDevicesClock", "TestADateAroundTheChangesOfTheClock"}},
	{What: "19 map id in small letters", Tests: []string{"TestAMapForTheFirmwareGoesBeforeOneForAny"}},
	{What: "20 bytes behind the last record", Tests: []string{"TestBytesBehindTheLastRecordAreNoticed"}},
	{What: "an interrupted log goes on where it stopped", Tests: []string{"TestALogGoesOnWhereTheLineBroke", "TestRecordsOfAnotherDeviceDoNotFollowWhatWasLeft"}},
}

func TestTheInventorysTestsAreThere(t *testing.T) {
	decodertest.Hold(t, inventory, "*_test.go", "../sim/corus*_test.go", "../../bridge/commandline/foreign_corus*_test.go")
}
