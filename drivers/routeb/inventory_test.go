package routeb

import (
	"testing"

	"github.com/meter2mqtt/meter2mqtt/drivers/decodertest"
)

// inventory says which tests hold what a reader of Route B must do better than
// momonga, the one public library.
var inventory = []decodertest.Line{
	{What: "1 the meter ends the session: joined again at once", Tests: []string{
		"TestASessionLostBetweenReadingsIsJoinedAgainUnasked/the meter closes", "TestTheProgramReadsAForeignStickWithEveryFault/the meter closes",
	}},
	{What: "2 expired and not renewed", Tests: []string{"TestTheProgramReadsAForeignStickWithEveryFault/the session expires for good"}},
	{What: "3 renewed before the announced end", Tests: []string{"TestASessionIsRenewedBeforeItEnds", "TestTheProgramRenewsASessionOfAForeignStickBeforeItEnds"}},
	{What: "4 a join without an answer", Tests: []string{"TestTheProgramReadsAForeignStickWithEveryFault/the first join is not answered"}},
	{What: "5 binary and hexadecimal output, flash left alone", Tests: []string{
		"TestTheProgramReadsAForeignStickWithEveryFault/BP35C0 binary", "TestTheProgramReadsAForeignStickWithEveryFault/no ROPT, binary",
	}},
	{What: "6 register SA2 refused, all forms of ERXUDP", Tests: []string{"TestTheProgramReadsAForeignStickWithEveryFault/no SA2", "TestCorpusLines"}},
	{What: "7 the right one of several PANs", Tests: []string{
		"TestTheProgramReadsAForeignStickWithEveryFault/a neighbour before", "TestTheProgramReadsAForeignStickWithEveryFault/a neighbour after", "TestCorpusScans",
	}},
	{What: "8 the PAN is remembered", Tests: []string{"TestARestartOfTheProgramJoinsAForeignStickFromItsMemory", "TestAPANThatIsNoMoreIsLookedForAgain"}},
	{What: "9 partial answers are used, what is refused is not asked for again", Tests: []string{"TestWhatAMeterRefusesIsNotAskedForAgain", "TestCorpusFrames"}},
	{What: "10 properties in any order", Tests: []string{"TestOnlyTheAnswerIsTakenForOne/in another order"}},
	{What: "11 history that was never chosen has no rows", Tests: []string{"TestCorpusFrames"}},
	{What: "12 overflow is no value", Tests: []string{"TestSentinelsAreAbsent", "TestCorpusFrames"}},
	{What: "13 exact energies", Tests: []string{"TestSentinelsAreAbsent", "TestACoefficientOfNoughtCountsAsOne"}},
	{What: "14 history is dated by the meter, in Japan's time", Tests: []string{"TestHistoryOfDaysAndMinutes", "TestTheProgramReadsADayOfAForeignStick"}},
	{What: "15 every property that can be set, all services", Tests: []string{"TestTheProgramWritesToAForeignStick", "TestParametersAreSetAndReadBack", "TestCorpusRequests"}},
	{What: "16 air time is counted", Tests: []string{"TestTheAirTimeOfTheLastHourCounts", "TestASessionWantsRestWhileAirTimeIsScarce"}},
	{What: "17 silence is noticed", Tests: []string{
		"TestASessionWithoutAWordIsTakenForLost", "TestAMeterThatFallsSilentIsGivenUpInSecondsAndComesBack", "TestAStickWhoseMeterIsMuteIsGivenUpInSeconds",
	}},
	{What: "18 gaps are filled", Tests: []string{"TestTheProgramFillsMissedDaysFromAForeignStick", "TestDaysMissedOfARouteBMeterAreFilledWithItsHalfHours"}},
	{What: "19 J11 modules", Tests: []string{"TestTheProgramReadsAForeignBinaryStickWithEveryFault/all together"}},
	{What: "20 no other service's answer is taken", Tests: []string{"TestOnlyTheAnswerIsTakenForOne/to a setting"}},
	{What: "21 what was asked when the session ended is asked again", Tests: []string{"TestTheProgramReadsAForeignStickWithEveryFault/the session expires and comes back"}},
}

func TestTheInventorysTestsAreThere(t *testing.T) {
	decodertest.Hold(t, inventory, "*_test.go", "../sim/routeb*_test.go", "../../bridge/backfill_routeb*_test.go", "../../bridge/commandline/foreign_routeb*_test.go")
}
